/* Write a payload format for fanfare in C, without a libc. One source file includes this one and defines
 *
 *     FF_PLUGIN("NAME", "1.0.0", "application/json")    name, version and content type, as in manifest.json
 *     ff_text ff_configure(ff_text settings)            once on each instance: JSON text in, FF_OK or what is wrong
 *     ff_answer ff_render(ff_text event)                each event: JSON text in, ff_done / ff_skip / ff_invalid out
 *
 * and is built for a bare wasm32. This file is the canonical ABI of fanfare:format@1.0.0 (wit/format.wit), so that yours
 * need not know it.
 *
 * Memory is an arena: what ff_configure takes stays, what a render takes is given back after it, nothing is freed singly.
 * Keep nothing of one render for the next: the same event must give the same bytes, whatever came before it.
 */
#ifndef FANFARE_PLUGIN_H
#define FANFARE_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(sizeof(void *) == 4, "build for wasm32: zig cc -target wasm32-freestanding, or clang --target=wasm32");

/* ---- What you use ------------------------------------------------------------------------------------------------ */

/* Bytes that belong to somebody else; at == NULL: there is nothing. */
typedef struct {
    const char *at;
    uint32_t size;
} ff_text;

/* A literal as ff_text. */
#define FF(literal) ((ff_text){"" literal, sizeof(literal) - 1})
/* What ff_configure gives when the settings are good. */
#define FF_OK ((ff_text){NULL, 0})

/* What ff_render gives; made by ff_done, ff_skip, ff_invalid or ff_internal, never by hand. */
typedef enum { FF_BODIES, FF_SKIP, FF_INVALID, FF_INTERNAL } ff_answer;

typedef struct ff_body ff_body;

ff_text ff_configure(ff_text settings);
ff_answer ff_render(ff_text event);

/* A body to be sent, in the order they were begun. One is the rule; several are several requests. */
static ff_body *ff_new_body(void);
/* Appends bytes as they are: a value as it stands in the event is JSON already. */
static void ff_put(ff_body *body, ff_text bytes);
/* Appends a JSON string of these characters, quoted and escaped. */
static void ff_put_string(ff_body *body, ff_text characters);
/* Appends a whole number. */
static void ff_put_number(ff_body *body, int64_t number);
/* Another content type than the plugin's. */
static void ff_content_type(ff_body *body, ff_text media_type);
/* A header: ce-*, x-plugin-*, content-language, content-encoding, link, accept, x-event-type; at most 16. */
static void ff_header(ff_body *body, ff_text name, ff_text value);

/* The bodies begun so far are the answer. */
static ff_answer ff_done(void);
/* The event has no form in this format: settled without sending. The reason is a word of a-z 0-9 _. */
static ff_answer ff_skip(ff_text reason);
/* The event can never be rendered: a dead letter with this message. */
static ff_answer ff_invalid(ff_text message);
/* The fault is the plugin's: tried again later, on a fresh instance. */
static ff_answer ff_internal(ff_text message);

/* The values of these members of a JSON object, in one pass that checks the whole of it; one that is not there has
 * at == NULL. false: not one well-formed object, and then no value is given. */
static bool ff_members(ff_text object, uint32_t count, const char *const names[], ff_text values[]);
/* The value of one member, or nothing. */
static ff_text ff_member(ff_text object, const char *name);
/* Walks a JSON array: begin with `rest` = the array, stop at false. */
static bool ff_next_item(ff_text *rest, ff_text *item);
/* The characters of a JSON string, escapes undone; nothing when it is none. */
static ff_text ff_characters(ff_text value);
/* Whether two texts have the same bytes. */
static bool ff_same(ff_text a, ff_text b);
/* Whether a JSON value is the string of these characters. */
static bool ff_is(ff_text value, const char *characters);
/* Memory until the end of this render (in ff_configure: for good). */
static void *ff_take(uint32_t size);

/* ---- How it works ------------------------------------------------------------------------------------------------ */

#define FF_UNUSED __attribute__((unused))
#define FF_EXPORT(name) __attribute__((export_name(name), used))
#define FF_INTERFACE "fanfare:format/format@1.0.0#"

/* Bodies of one event: fanfare takes 1024, this file makes room for fewer. */
#define FF_BODIES_MAX 64
/* Headers of one body, as many as fanfare takes. */
#define FF_HEADERS_MAX 16
/* Objects and arrays in one another that are read. */
#define FF_DEPTH_MAX 1024

/* The compiler may call these by itself. Weak: a toolchain that brings its own wins. */
__attribute__((weak, no_builtin)) void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    for (size_t i = 0; i < size; i++) ((char *)to)[i] = ((const char *)from)[i];
    return to;
}
__attribute__((weak, no_builtin)) void *memset(void *to, int byte, size_t size) {
    for (size_t i = 0; i < size; i++) ((char *)to)[i] = (char)byte;
    return to;
}
__attribute__((weak, no_builtin)) int memcmp(const void *a, const void *b, size_t size) {
    for (size_t i = 0; i < size; i++) {
        int differ = ((const unsigned char *)a)[i] - ((const unsigned char *)b)[i];
        if (differ) return differ;
    }
    return 0;
}

/* The arena: from the linker's heap base to the end of memory, which grows. */
extern char __heap_base;
static uintptr_t ff__free, ff__kept;

static void *ff_take(uint32_t size) {
    if (!ff__free) ff__free = ff__kept = ((uintptr_t)&__heap_base + 7) & ~(uintptr_t)7;
    uintptr_t at = ff__free, have = (uintptr_t)__builtin_wasm_memory_size(0) << 16;
    /* Sums that would wrap are more than there can be. */
    if (size > 0x7fffffffu - 8 || at > 0x80000000u) __builtin_trap();
    uintptr_t end = (at + size + 7) & ~(uintptr_t)7;
    /* fanfare ends the call where the manifest's limits.memoryBytes is reached. */
    if (end > have && __builtin_wasm_memory_grow(0, (end - have + 0xffff) >> 16) == (size_t)-1) __builtin_trap();
    ff__free = end;
    return (void *)at;
}

/* More room for what was taken last costs nothing; otherwise it moves. */
static void *ff__more(void *old, uint32_t old_size, uint32_t size) {
    if (old && (((uintptr_t)old + old_size + 7) & ~(uintptr_t)7) == ff__free) {
        ff__free = (uintptr_t)old;
        return ff_take(size);
    }
    void *now = ff_take(size);
    if (old) memcpy(now, old, old_size < size ? old_size : size);
    return now;
}

FF_EXPORT("cabi_realloc") void *ff__realloc(void *old, uint32_t old_size, uint32_t align, uint32_t size) {
    (void)align; /* At most 8, which everything has. */
    return ff__more(old, old_size, size);
}

typedef struct {
    ff_text name, value;
} ff__header;

/* `rendered` of the interface, as it lies in memory, and the room its body has. */
struct ff_body {
    char *at;
    uint32_t size;
    uint32_t has_content_type;
    ff_text content_type;
    ff__header *headers;
    uint32_t header_count;
};
_Static_assert(sizeof(struct ff_body) == 28, "as the canonical ABI lays it out");

static struct ff_body ff__bodies[FF_BODIES_MAX];
static uint32_t ff__rooms[FF_BODIES_MAX];
static uint32_t ff__body_count;
static ff_text ff__said;

static FF_UNUSED ff_body *ff_new_body(void) {
    if (ff__body_count == FF_BODIES_MAX) __builtin_trap();
    ff_body *body = &ff__bodies[ff__body_count];
    /* An empty list needs an address too, an aligned one. */
    *body = (ff_body){.at = (char *)8, .headers = (ff__header *)8};
    ff__rooms[ff__body_count++] = 0;
    return body;
}

static FF_UNUSED void ff_put(ff_body *body, ff_text bytes) {
    uint32_t *room = &ff__rooms[body - ff__bodies];
    if (bytes.size > 0x3fffffffu - body->size) __builtin_trap();
    if (body->size + bytes.size > *room) {
        uint32_t wanted = (body->size + bytes.size) * 2;
        if (wanted < 1024) wanted = 1024;
        body->at = ff__more(*room ? body->at : NULL, *room, wanted);
        *room = wanted;
    }
    memcpy(body->at + body->size, bytes.at, bytes.size);
    body->size += bytes.size;
}

static FF_UNUSED void ff_put_string(ff_body *body, ff_text characters) {
    static const char hex[] = "0123456789abcdef";
    ff_put(body, FF("\""));
    uint32_t from = 0;
    for (uint32_t i = 0; i < characters.size; i++) {
        unsigned char c = (unsigned char)characters.at[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        ff_put(body, (ff_text){characters.at + from, i - from});
        char escape[6] = {'\\', (char)c, '0', '0', hex[c >> 4], hex[c & 15]};
        if (c < 0x20) escape[1] = 'u';
        ff_put(body, (ff_text){escape, c < 0x20 ? 6 : 2});
        from = i + 1;
    }
    ff_put(body, (ff_text){characters.at + from, characters.size - from});
    ff_put(body, FF("\""));
}

static FF_UNUSED void ff_put_number(ff_body *body, int64_t number) {
    char digits[20];
    uint32_t at = sizeof digits;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do digits[--at] = (char)('0' + left % 10);
    while (left /= 10);
    if (number < 0) digits[--at] = '-';
    ff_put(body, (ff_text){digits + at, sizeof digits - at});
}

static FF_UNUSED void ff_content_type(ff_body *body, ff_text media_type) {
    body->has_content_type = 1;
    body->content_type = media_type;
}

static FF_UNUSED void ff_header(ff_body *body, ff_text name, ff_text value) {
    if (body->header_count == FF_HEADERS_MAX) __builtin_trap();
    if (!body->header_count) body->headers = ff_take(FF_HEADERS_MAX * sizeof(ff__header));
    body->headers[body->header_count++] = (ff__header){name, value};
}

static FF_UNUSED ff_answer ff_done(void) { return FF_BODIES; }
static FF_UNUSED ff_answer ff_skip(ff_text reason) { return ff__said = reason, FF_SKIP; }
static FF_UNUSED ff_answer ff_invalid(ff_text message) { return ff__said = message, FF_INVALID; }
static FF_UNUSED ff_answer ff_internal(ff_text message) { return ff__said = message, FF_INTERNAL; }

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static const char *ff__blanks(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) at++;
    return at;
}

static int ff__hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Each of these gives the place after what it read, or NULL. They call nothing of themselves: depth costs no stack. */
static const char *ff__string(const char *at, const char *end) {
    for (at++; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '"') return at + 1;
        if (c < 0x20) return NULL;
        if (c != '\\') continue;
        if (++at == end) return NULL;
        if (*at == 'u') {
            if (end - at < 5) return NULL;
            for (int i = 1; i < 5; i++)
                if (ff__hex(at[i]) < 0) return NULL;
            at += 4;
        } else {
            const char *known = "\"\\/bfnrt";
            while (*known && *known != *at) known++;
            if (!*known) return NULL;
        }
    }
    return NULL;
}

static const char *ff__digits(const char *at, const char *end) {
    const char *from = at;
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at == from ? NULL : at;
}

static const char *ff__scalar(const char *at, const char *end) {
    static const char *const words[] = {"true", "false", "null"};
    for (int w = 0; w < 3; w++) {
        const char *word = words[w], *there = at;
        while (*word && there < end && *there == *word) word++, there++;
        if (!*word) return there;
    }
    if (at < end && *at == '-') at++;
    if (at < end && *at == '0') at++;
    else if (!(at = ff__digits(at, end))) return NULL;
    if (at < end && *at == '.' && !(at = ff__digits(at + 1, end))) return NULL;
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        at = ff__digits(at, end);
    }
    return at;
}

/* `"name" :`, and where the value begins. */
static const char *ff__name(const char *at, const char *end) {
    if (at == end || *at != '"' || !(at = ff__string(at, end))) return NULL;
    at = ff__blanks(at, end);
    return at < end && *at == ':' ? ff__blanks(at + 1, end) : NULL;
}

static const char *ff__value(const char *at, const char *end) {
    uint32_t is_object[FF_DEPTH_MAX / 32], depth = 0;
    for (;;) {
        /* A value begins here. */
        if (at == end) return NULL;
        if (*at == '{' || *at == '[') {
            bool object = *at == '{';
            at = ff__blanks(at + 1, end);
            if (at < end && *at == (object ? '}' : ']')) {
                at++;
            } else {
                if (depth == FF_DEPTH_MAX) return NULL;
                uint32_t bit = 1u << (depth % 32), *word = &is_object[depth / 32];
                *word = object ? *word | bit : *word & ~bit;
                depth++;
                if (object && !(at = ff__name(at, end))) return NULL;
                continue;
            }
        } else if (!(at = *at == '"' ? ff__string(at, end) : ff__scalar(at, end))) {
            return NULL;
        }
        /* A value ended here, and whatever ends with it. */
        for (;;) {
            if (!depth) return at;
            at = ff__blanks(at, end);
            if (at == end) return NULL;
            bool object = is_object[(depth - 1) / 32] >> ((depth - 1) % 32) & 1;
            if (*at == ',') {
                at = ff__blanks(at + 1, end);
                if (object && !(at = ff__name(at, end))) return NULL;
                break;
            }
            if (*at != (object ? '}' : ']')) return NULL;
            at++;
            depth--;
        }
    }
}

static FF_UNUSED bool ff_same(ff_text a, ff_text b) { return a.size == b.size && !memcmp(a.at, b.at, a.size); }

static ff_text ff__of(const char *characters) {
    uint32_t size = 0;
    while (characters[size]) size++;
    return (ff_text){characters, size};
}

static FF_UNUSED bool ff_is(ff_text value, const char *characters) {
    ff_text wanted = ff__of(characters);
    if (!value.at || value.size < 2 || *value.at != '"') return false;
    for (uint32_t i = 1; i + 1 < value.size; i++)
        if (value.at[i] == '\\') return ff_same(ff_characters(value), wanted);
    return ff_same((ff_text){value.at + 1, value.size - 2}, wanted);
}

static FF_UNUSED bool ff_members(ff_text object, uint32_t count, const char *const names[], ff_text values[]) {
    for (uint32_t i = 0; i < count; i++) values[i] = (ff_text){NULL, 0};
    if (!object.at) return false;
    const char *end = object.at + object.size, *at = ff__blanks(object.at, end);
    if (at == end || *at != '{') return false;
    at = ff__blanks(at + 1, end);
    bool is_good = false;
    if (at < end && *at == '}') {
        at++;
        is_good = true;
    }
    while (!is_good) {
        ff_text name = {at, 0};
        const char *value = ff__name(at, end);
        if (!value) break;
        name.size = (uint32_t)(ff__string(at, end) - at);
        if (!(at = ff__value(value, end))) break;
        for (uint32_t i = 0; i < count; i++)
            if (ff_is(name, names[i])) values[i] = (ff_text){value, (uint32_t)(at - value)};
        at = ff__blanks(at, end);
        if (at == end || (*at != ',' && *at != '}')) break;
        is_good = *at == '}';
        at = is_good ? at + 1 : ff__blanks(at + 1, end);
    }
    if (is_good && ff__blanks(at, end) == end) return true;
    for (uint32_t i = 0; i < count; i++) values[i] = (ff_text){NULL, 0};
    return false;
}

static FF_UNUSED ff_text ff_member(ff_text object, const char *name) {
    ff_text value;
    ff_members(object, 1, &name, &value);
    return value;
}

static FF_UNUSED bool ff_next_item(ff_text *rest, ff_text *item) {
    if (!rest->at) return false;
    const char *end = rest->at + rest->size, *at = ff__blanks(rest->at, end);
    /* `[` at first, `,` between items. */
    if (at == end || (*at != '[' && *at != ',')) return false;
    bool is_first = *at == '[';
    at = ff__blanks(at + 1, end);
    if (is_first && at < end && *at == ']') return false;
    const char *after = ff__value(at, end);
    if (!after) return false;
    *item = (ff_text){at, (uint32_t)(after - at)};
    *rest = (ff_text){after, (uint32_t)(end - after)};
    return true;
}

static FF_UNUSED ff_text ff_characters(ff_text value) {
    if (!value.at || *value.at != '"' || ff__string(value.at, value.at + value.size) != value.at + value.size)
        return (ff_text){NULL, 0};
    /* Never longer than what it is made of. */
    char *to = ff_take(value.size), *from = to;
    for (const char *at = value.at + 1, *end = value.at + value.size - 1; at < end; at++) {
        if (*at != '\\') {
            *to++ = *at;
            continue;
        }
        switch (*++at) {
        case 'b': *to++ = '\b'; break;
        case 'f': *to++ = '\f'; break;
        case 'n': *to++ = '\n'; break;
        case 'r': *to++ = '\r'; break;
        case 't': *to++ = '\t'; break;
        case 'u': {
            uint32_t code = 0, low = 0;
            for (int i = 1; i < 5; i++) code = code << 4 | (uint32_t)ff__hex(at[i]);
            at += 4;
            if (code >= 0xd800 && code < 0xdc00 && end - at > 6 && at[1] == '\\' && at[2] == 'u') {
                for (int i = 3; i < 7; i++) low = low << 4 | (uint32_t)ff__hex(at[i]);
                if (low >= 0xdc00 && low < 0xe000) {
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    at += 6;
                }
            }
            /* Half of a pair is no character. */
            if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
            if (code < 0x80) {
                *to++ = (char)code;
            } else if (code < 0x800) {
                *to++ = (char)(0xc0 | code >> 6);
                *to++ = (char)(0x80 | (code & 63));
            } else if (code < 0x10000) {
                *to++ = (char)(0xe0 | code >> 12);
                *to++ = (char)(0x80 | (code >> 6 & 63));
                *to++ = (char)(0x80 | (code & 63));
            } else {
                *to++ = (char)(0xf0 | code >> 18);
                *to++ = (char)(0x80 | (code >> 12 & 63));
                *to++ = (char)(0x80 | (code >> 6 & 63));
                *to++ = (char)(0x80 | (code & 63));
            }
            break;
        }
        default: *to++ = *at;
        }
    }
    return (ff_text){from, (uint32_t)(to - from)};
}

/* ---- The interface ----------------------------------------------------------------------------------------------- */

/* Results, as the canonical ABI lays them out. */
static struct {
    uint32_t is_error;
    ff_text message;
} ff__configured;

static struct {
    uint32_t is_error;
    union {
        struct {
            const ff_body *at;
            uint32_t count;
        } bodies;
        struct {
            uint32_t kind;
            ff_text text;
        } failure;
    };
} ff__rendered;

FF_EXPORT(FF_INTERFACE "configure") void *ff__configure(const char *at, uint32_t size) {
    ff_text wrong = ff_configure((ff_text){at, size});
    ff__configured.is_error = wrong.at != NULL;
    ff__configured.message = wrong;
    ff__kept = ff__free;
    return &ff__configured;
}

FF_EXPORT(FF_INTERFACE "render") void *ff__render(const char *at, uint32_t size) {
    ff__body_count = 0;
    ff_answer answer = ff_render((ff_text){at, size});
    ff__rendered.is_error = answer != FF_BODIES;
    if (answer == FF_BODIES) {
        ff__rendered.bodies.at = ff__bodies;
        ff__rendered.bodies.count = ff__body_count;
    } else {
        ff__rendered.failure.kind = answer - FF_SKIP;
        ff__rendered.failure.text = ff__said;
    }
    return &ff__rendered;
}

/* fanfare has read the answer. */
FF_EXPORT("cabi_post_" FF_INTERFACE "render") void ff__rendered_is_read(void *answer) {
    (void)answer;
    ff__free = ff__kept;
}

#define FF_PLUGIN(name, version, content_type)                                                                         \
    FF_EXPORT(FF_INTERFACE "describe") void *ff__describe(void) {                                                      \
        static ff_text described[3];                                                                                   \
        described[0] = FF(name), described[1] = FF(version), described[2] = FF(content_type);                          \
        return described;                                                                                              \
    }

#endif
