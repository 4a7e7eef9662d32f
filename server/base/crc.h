/* Checksums of the field's formats. Pure, any thread.
 *
 * crc16: CRC-16/XMODEM, the cluster's slot hash. crc64: CRC-64/Jones, the trailer of RDB files and DUMP payloads
 * (reflected 0xad93d23594c935a9, init 0, no final xor). Source: shared format notes; check values in the test.
 */
#ifndef HF_BASE_CRC_H
#define HF_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

uint16_t crc16(const void *p, size_t n);
/* Continues from crc (0 at the start). Uses carry-less multiplication where the CPU has it. */
uint64_t crc64(uint64_t crc, const void *p, size_t n);
/* The same by tables alone: what crc64() is where the CPU has no such instruction. */
uint64_t crc64_portable(uint64_t crc, const void *p, size_t n);
/* Hash slot of a key, 0..16383: of the bytes in the first non-empty {…}, else of the whole key. */
unsigned crc16_key_slot(const void *key, size_t n);

#endif
