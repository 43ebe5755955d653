/*
 * JSON values, a small regular expression matcher and a packer. Doesn't know files.
 */
#ifndef PARSE_H
#define PARSE_H

#include <stdbool.h>
#include <stddef.h>

enum json_kind { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* Members of an array or object hang in a list; name is set in objects only. */
struct json {
    enum json_kind kind;
    double number;
    char *name, *string;
    struct json *first, *next;
};

struct json *json_read(const char *text);
size_t json_write(const struct json *v, char *out, size_t room);
const struct json *json_member(const struct json *v, const char *name);
bool json_same(const struct json *a, const struct json *b);
void json_free(struct json *v);

/* Knows . [a-z] [^a-z] * + ? | () ^ $ \x; finds the leftmost match and its longest end. */
bool regex_search(const char *pattern, const char *text, size_t *start, size_t *end);

/* Both return the size of the result, or 0 if it doesn't fit or the input is damaged. */
size_t lz_pack(const unsigned char *in, size_t n, unsigned char *out, size_t room);
size_t lz_unpack(const unsigned char *in, size_t n, unsigned char *out, size_t room);

#endif
