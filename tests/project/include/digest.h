/*
 * Message digests, in one call each. Doesn't know how to feed them piecewise.
 */
#ifndef DIGEST_H
#define DIGEST_H

#include <stddef.h>

void sha256(const void *data, size_t n, unsigned char out[32]);
void sha512(const void *data, size_t n, unsigned char out[64]);
void md5(const void *data, size_t n, unsigned char out[16]);

#endif
