/*
 * Checks searching, digests, JSON, regular expressions and the packer by known values.
 * Doesn't know how they work.
 */
#include "check.h"
#include "digest.h"
#include "parse.h"

#define TEXT_DECLARE
#define TEXT_NAME text_u8
#define TEXT_UNIT uint8_t
#include "text.h"
#undef TEXT_NAME
#undef TEXT_UNIT
#define TEXT_NAME text_u16
#define TEXT_UNIT uint16_t
#include "text.h"
#undef TEXT_NAME
#undef TEXT_UNIT
#define TEXT_NAME text_u32
#define TEXT_UNIT uint32_t
#include "text.h"

/* The searches must agree with each other; the rest has answers known by construction. */
#define SEARCHES(M, U)                                                               \
    static void M##_check(void)                                                      \
    {                                                                                \
        enum { LENGTH = 600, MOST = 700 };                                           \
        static U s[LENGTH], out[LENGTH];                                             \
        static size_t sa[LENGTH], at[4][MOST];                                       \
        for (int i = 0; i < LENGTH; i++)                                             \
            s[i] = (U)(random_bits() % 3 + (sizeof(U) > 1 ? 1000 : 'a'));            \
        M##_suffixes(s, LENGTH, sa);                                                 \
        for (size_t m = 1; m < 12; m++) {                                            \
            const U *p = s + random_bits() % (LENGTH - m);                           \
            size_t n = M##_find_plain(s, LENGTH, p, m, at[0], MOST);                 \
            CHECK(n > 0);                                                            \
            CHECK(M##_find_kmp(s, LENGTH, p, m, at[1], MOST) == n);                  \
            CHECK(M##_find_bmh(s, LENGTH, p, m, at[2], MOST) == n);                  \
            CHECK(M##_find_z(s, LENGTH, p, m, at[3], MOST) == n);                    \
            CHECK(M##_find_sorted(s, LENGTH, sa, p, m) == n);                        \
            for (int k = 1; k < 4; k++)                                              \
                CHECK(!memcmp(at[0], at[k], n * sizeof **at));                       \
        }                                                                            \
        size_t where, n = M##_longest_repeat(s, LENGTH, &where);                     \
        CHECK(M##_find_plain(s, LENGTH, s + where, n, at[0], MOST) > 1);             \
        n = M##_longest_palindrome(s, LENGTH, &where);                               \
        for (size_t i = 0; i < n; i++)                                               \
            CHECK(s[where + i] == s[where + n - 1 - i]);                             \
        size_t turn = M##_least_rotation(s, LENGTH);                                 \
        for (size_t i = 0; i < LENGTH; i++)                                          \
            out[i] = s[(i + 123) % LENGTH];                                          \
        CHECK(M##_least_rotation(out, LENGTH) == (turn + LENGTH - 123) % LENGTH);    \
        n = M##_common(s, 300, s + 300, 300, out);                                   \
        CHECK(M##_distance(s, 300, s + 300, 300) <= 300 - n + 300 - n);              \
        CHECK(M##_distance(s, 300, s, 300) == 0);                                    \
        CHECK(M##_distance(s, 300, out, n) == 300 - n);                              \
    }

SEARCHES(text_u8, uint8_t)
SEARCHES(text_u16, uint16_t)
SEARCHES(text_u32, uint32_t)

static void is_hex(const unsigned char *p, size_t n, const char *want)
{
    char hex[129];
    for (size_t i = 0; i < n; i++)
        snprintf(hex + 2 * i, 3, "%02x", p[i]);
    CHECK(!strcmp(hex, want));
}

static void digests(void)
{
    unsigned char d[64];
    char million[1000];
    memset(million, 'a', sizeof million);
    sha256("abc", 3, d);
    is_hex(d, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha512("abc", 3, d);
    is_hex(d, 64, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                  "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
    md5("abc", 3, d);
    is_hex(d, 16, "900150983cd24fb0d6963f7d28e17f72");
    sha256(million, sizeof million, d);
    is_hex(d, 32, "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3");
}

static void json(void)
{
    static const char text[] = "{ \"a\": [1, -2.5e3, true, false, null, \"x\\n\\u00e9\"],"
                               " \"b\": {\"deep\": {\"er\": []}} }";
    static const char *const wrong[] = {"", "[1,]", "{\"a\" 1}", "01", "\"\\u12\"", "[1 2]",
                                        "tru", "\"open", "[", "{} x", "nan"};
    char out[200];
    struct json *v = json_read(text);
    CHECK(v && v->kind == JSON_OBJECT);
    const struct json *a = json_member(v, "a");
    CHECK(a && a->kind == JSON_ARRAY && a->first->next->number == -2500);
    CHECK(json_write(v, out, sizeof out) < sizeof out);
    struct json *again = json_read(out);
    CHECK(again && json_same(v, again));
    json_free(v);
    json_free(again);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(!json_read(wrong[i]));
}

static void regexes(void)
{
    static const struct {
        const char *pattern, *text;
        int start, end; /* -1: no match */
    } table[] = {
        {"a", "bab", 1, 2},        {"a*", "aab", 0, 2},        {"^b", "ab", -1, 0},
        {"b$", "abb", 2, 3},       {"(ab|a)c?", "xabc", 1, 4}, {"[a-c]+", "xxbcaz", 2, 5},
        {"[^x]", "xxy", 2, 3},     {"(a|b)*c", "ababc", 0, 5}, {"\\*", "2*3", 1, 2},
        {"(a*)*b", "aaaab", 0, 5}, {"x|", "y", 0, 0},          {"(", "(", -1, 0},
        {"a**b", "aab", 0, 3},     {".+z", "azbz!", 0, 4},     {"a?a?a?aaa", "aaa", 0, 3},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        size_t start = 0, end = 0;
        bool found = regex_search(table[i].pattern, table[i].text, &start, &end);
        CHECK(found == (table[i].start >= 0));
        CHECK(!found || (start == (size_t)table[i].start && end == (size_t)table[i].end));
    }
}

static void packer(void)
{
    enum { MOST = 100000 };
    static unsigned char in[MOST], packed[2 * MOST], out[MOST];
    static const size_t sizes[] = {0, 1, 3, 4, 5, 100, MOST};
    for (int kind = 1; kind < 256; kind += 50)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            size_t n = sizes[s];
            for (size_t i = 0; i < n; i++)
                in[i] = (unsigned char)(random_bits() % (uint64_t)kind);
            size_t size = lz_pack(in, n, packed, sizeof packed);
            CHECK(size > 0 && (kind > 1 || size < 40));
            CHECK(lz_unpack(packed, size, out, sizeof out) == n && !memcmp(in, out, n));
            CHECK(n == 0 || lz_unpack(packed, size - 1, out, sizeof out) == 0);
        }
}

int main(void)
{
    text_u8_check();
    text_u16_check();
    text_u32_check();
    digests();
    json();
    regexes();
    packer();
    puts("text: ok");
    return 0;
}
