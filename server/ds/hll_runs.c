/* A sparse object is looked through before each use, so this is on the path of every PFADD: 32 opcodes a step where
 * there are vector units.
 *
 * Which bytes are opcodes and which the second half of one is decided for all of them at once. A byte that begins with
 * the bits 01 takes the next one with it, whatever that is; so of several such bytes in a row every other one is an
 * opcode, from the first on, and the byte behind the last is taken when their number is odd. Adding the first bit of
 * such a row to the row carries to the bit behind it, which gives the row with that bit; the bits taken are those of
 * the other parity than the first. */
#include "config.h"

#include "server/ds/hll_registers.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

bool hll_runs_are_sound_portable(const unsigned char *p, size_t n) {
    const unsigned char *end = p + n;
    uint32_t registers = 0;
    while (p != end) {
        if ((*p & 0xc0) == 0x40 && end - p < 2)
            return false;
        struct hll_run run = hll_run_at(p);
        registers += run.length;
        if (registers > HLL_REGISTERS)
            return false;
        p += run.bytes;
    }
    return registers == HLL_REGISTERS;
}

#if defined(__x86_64__)
#define STEP 32u
#define EVEN UINT64_C(0x5555555555555555)

/* Of the bytes that take the next one if they are opcodes, and whether the first byte is taken: which bytes are taken,
 * the one behind the step included. */
static uint64_t taken_bytes(uint32_t takers, bool first_taken) {
    uint64_t rows = takers & ~(uint64_t)first_taken, firsts = rows & ~(rows << 1);
    uint64_t from_even = (rows + (firsts & EVEN)) ^ rows, from_odd = (rows + (firsts & ~EVEN)) ^ rows;
    return (from_even & ~EVEN) | (from_odd & EVEN) | first_taken;
}

/* All ones in the bytes whose bits are set. */
__attribute__((target("avx2"))) static __m256i bytes_of_bits(uint32_t bits) {
    const __m256i byte_of = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3,
                                             3, 3, 3, 3, 3, 3, 3);
    const __m256i bit_of = _mm256_set1_epi64x((int64_t)UINT64_C(0x8040201008040201));
    __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32((int32_t)bits), byte_of);
    return _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit_of), bit_of);
}

__attribute__((target("avx2"))) static uint64_t sum_of_lanes(__m256i v) {
    uint64_t lanes[4];
    _mm256_storeu_si256((__m256i *)(void *)lanes, v);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

__attribute__((target("avx2,popcnt"))) static bool runs_are_sound_avx2(const unsigned char *p, size_t n) {
    const __m256i top = _mm256_set1_epi8((char)0xc0), taker = _mm256_set1_epi8(0x40);
    const __m256i low_six = _mm256_set1_epi8(63), low_two = _mm256_set1_epi8(3), zero = _mm256_setzero_si256();
    __m256i ones = zero, high = zero; /* sums of what counts once, and 256 times */
    uint64_t opcodes = 0;
    bool taken_before = false, cut_off = false;
    for (size_t at = 0; at < n; at += STEP) {
        unsigned char last[STEP] = {0}; /* filled up with opcodes for one register */
        const unsigned char *from = p + at;
        if (n - at < STEP)
            from = memcpy(last, from, n - at);
        const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)from);
        const __m256i takes = _mm256_cmpeq_epi8(_mm256_and_si256(v, top), taker);
        const uint64_t taken = taken_bytes((uint32_t)_mm256_movemask_epi8(takes), taken_before);
        cut_off = n - at < STEP && (taken >> (n - at) & 1);
        taken_before = taken >> STEP & 1;
        opcodes += STEP - (uint64_t)__builtin_popcount((uint32_t)taken);
        const __m256i is_taken = bytes_of_bits((uint32_t)taken), long_zeroes = _mm256_andnot_si256(is_taken, takes);
        __m256i once = _mm256_blendv_epi8(_mm256_and_si256(v, low_six), _mm256_and_si256(v, low_two), v);
        once = _mm256_andnot_si256(long_zeroes, _mm256_blendv_epi8(once, v, is_taken));
        ones = _mm256_add_epi64(ones, _mm256_sad_epu8(once, zero));
        high =
            _mm256_add_epi64(high, _mm256_sad_epu8(_mm256_and_si256(_mm256_and_si256(v, low_six), long_zeroes), zero));
    }
    const size_t filled = (STEP - n % STEP) % STEP;
    const uint64_t registers = opcodes - filled + sum_of_lanes(ones) + 256 * sum_of_lanes(high);
    return !cut_off && !taken_before && registers == HLL_REGISTERS;
}
#endif

bool hll_runs_are_sound(const unsigned char *p, size_t n) {
#if defined(__x86_64__)
    if (n >= STEP && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt")) {
        bool sound = runs_are_sound_avx2(p, n);
        hll_clear_upper_halves();
        return sound;
    }
#endif
    return hll_runs_are_sound_portable(p, n);
}
