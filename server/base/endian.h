/* Unaligned loads and stores of fixed byte order. Header only. */
#ifndef HF_BASE_ENDIAN_H
#define HF_BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define HF_ENDIAN_PAIR(bits, order)                                                                                    \
    static inline uint##bits##_t load_##order##bits(const void *p) {                                                   \
        uint##bits##_t v;                                                                                              \
        memcpy(&v, p, sizeof v);                                                                                       \
        return order##bits##toh(v);                                                                                    \
    }                                                                                                                  \
    static inline void store_##order##bits(void *p, uint##bits##_t v) {                                                \
        v = hto##order##bits(v);                                                                                       \
        memcpy(p, &v, sizeof v);                                                                                       \
    }

HF_ENDIAN_PAIR(16, le)
HF_ENDIAN_PAIR(32, le)
HF_ENDIAN_PAIR(64, le)
HF_ENDIAN_PAIR(16, be)
HF_ENDIAN_PAIR(32, be)
HF_ENDIAN_PAIR(64, be)
#undef HF_ENDIAN_PAIR

#endif
