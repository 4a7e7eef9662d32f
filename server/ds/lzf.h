/* LZF compression (Marc Lehmann's published format): literal runs 000LLLLL, back references LLLooooo oooooooo and
 * 111ooooo LLLLLLLL oooooooo. Pure, any thread. Our own codec for the format. */
#ifndef HF_DS_LZF_H
#define HF_DS_LZF_H

#include <stddef.h>

/* Compresses; the count of bytes written to dst, or 0 when they would not fit in dst_cap. */
size_t lzf_compress(const void *src, size_t src_len, void *dst, size_t dst_cap);
/* Decompresses exactly dst_len bytes. 0, or -1 on corrupt input or another length; never reads or writes outside. */
int lzf_decompress(const void *src, size_t src_len, void *dst, size_t dst_len) __attribute__((warn_unused_result));

#endif
