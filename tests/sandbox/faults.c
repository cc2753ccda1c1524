#include "faults.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "memory.h"

/* Each is its JSON object, with "seen" counting the requests that it fits. */
struct faults {
    json_t *queue;
};

struct faults *faults_new(void)
{
    struct faults *faults = must(calloc(1, sizeof(*faults)));

    faults->queue = must(json_array());
    return faults;
}

struct faults *faults_free(struct faults *faults)
{
    if (!faults)
        return NULL;
    json_decref(faults->queue);
    free(faults);
    return NULL;
}

static int64_t number(const json_t *canned, const char *name, int64_t otherwise)
{
    const json_t *value = json_object_get(canned, name);

    return value ? json_integer_value(value) : otherwise;
}

/* --- reading ------------------------------------------------------------- */

static bool is_count(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool is_positive(const json_t *value)
{
    return is_count(value) && json_integer_value(value) > 0;
}

static bool is_status(const json_t *value)
{
    return is_count(value) && json_integer_value(value) >= 200 && json_integer_value(value) <= 599;
}

static bool is_text(const json_t *value)
{
    return json_is_string(value);
}

static bool is_flag(const json_t *value)
{
    return json_is_boolean(value);
}

static bool is_texts(const json_t *value)
{
    const char *name;
    json_t *text;

    if (!json_is_object(value))
        return false;
    json_object_foreach((json_t *)value, name, text)
    {
        if (!json_is_string(text))
            return false;
    }
    return true;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

static bool is_body(const json_t *value)
{
    const json_t *repeat = json_object_get(value, "repeat");
    const char *hex = json_string_value(json_object_get(value, "hex"));

    if (repeat)
        return json_string_value(repeat) && *json_string_value(repeat) &&
               is_count(json_object_get(value, "count"));
    if (hex)
        return strlen(hex) % 2 == 0 && strspn(hex, "0123456789abcdef") == strlen(hex);
    return true;
}

static const struct {
    const char *name;
    bool (*fits)(const json_t *value);
} members[] = {
    {"path", is_text},     {"method", is_text},    {"page", is_positive}, {"query", is_texts},
    {"nth", is_positive},  {"times", is_count},    {"status", is_status}, {"headers", is_texts},
    {"body", is_body},     {"close", is_flag},     {"hang", is_flag},     {"delay_ms", is_count},
    {"drip_ms", is_count}, {"truncate", is_count},
};

static int check(const json_t *canned, struct error *err)
{
    const char *name;
    json_t *value;

    if (!json_is_object(canned))
        return error_set(err, -EINVAL, "a canned answer is an object");
    json_object_foreach((json_t *)canned, name, value)
    {
        size_t i = 0;

        while (i < ELEMENTSOF(members) && strcmp(members[i].name, name) != 0)
            i++;
        if (i == ELEMENTSOF(members))
            return error_set(err, -EINVAL, "%s: a canned answer has no such member", name);
        if (!members[i].fits(value))
            return error_set(err, -EINVAL, "%s: not a value it can have", name);
    }
    return 0;
}

int faults_add(struct faults *faults, const json_t *answers, struct error *err)
{
    json_t *list = json_is_array(answers) ? json_deep_copy(answers)
                                          : json_pack("[o]", json_deep_copy(answers));
    size_t i;
    json_t *canned;
    int r = 0;

    json_array_foreach(list, i, canned)
    {
        r = check(canned, err);
        if (r < 0)
            break;
        if (!json_object_get(canned, "times"))
            json_object_set_new(canned, "times", json_integer(1));
    }
    if (r == 0)
        json_array_extend(faults->queue, list);
    json_decref(list);
    return r;
}

void faults_forget(struct faults *faults)
{
    json_array_clear(faults->queue);
}

json_t *faults_to_json(const struct faults *faults)
{
    return json_deep_copy(faults->queue);
}

/* --- matching ------------------------------------------------------------ */

static bool applies(const json_t *canned, const struct request *request)
{
    const char *path = json_string_value(json_object_get(canned, "path"));
    const char *method = json_string_value(json_object_get(canned, "method"));
    const char *page_text = request_parameter(request, "page");
    int64_t page = 1;
    const char *name;
    json_t *value;

    if (path && strcmp(path, request->path) != 0)
        return false;
    if (method && strcmp(method, request->method) != 0)
        return false;
    if (json_object_get(canned, "page") &&
        ((page_text && parse_int(page_text, 1, INT64_MAX, &page) < 0) ||
         page != number(canned, "page", 0)))
        return false;
    json_object_foreach(json_object_get(canned, "query"), name, value)
    {
        if (!json_equal(value, json_object_get(request->query, name)))
            return false;
    }
    return true;
}

json_t *faults_match(struct faults *faults, const struct request *request)
{
    size_t i;
    json_t *canned;

    json_array_foreach(faults->queue, i, canned)
    {
        int64_t seen, times;

        if (!applies(canned, request))
            continue;
        seen = number(canned, "seen", 0) + 1;
        json_object_set_new(canned, "seen", json_integer(seen));
        if (seen < number(canned, "nth", 1))
            continue;
        times = number(canned, "times", 1);
        json_incref(canned);
        if (times == 1)
            json_array_remove(faults->queue, i);
        else if (times > 1)
            json_object_set_new(canned, "times", json_integer(times - 1));
        return canned;
    }
    return NULL;
}

/* --- answering ----------------------------------------------------------- */

static void set_hex_body(struct reply *reply, unsigned status, const char *hex)
{
    size_t n = strlen(hex) / 2;
    char *bytes = must(malloc(n + 1));

    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
    bytes[n] = '\0';
    reply_text(reply, status, bytes, n);
}

static void set_body(struct reply *reply, unsigned status, json_t *body)
{
    const char *repeat = json_string_value(json_object_get(body, "repeat"));
    const char *hex = json_string_value(json_object_get(body, "hex"));

    if (repeat) {
        reply_text(reply, status, copy_of(repeat), strlen(repeat));
        reply->length *= (uint64_t)number(body, "count", 0);
    } else if (hex) {
        set_hex_body(reply, status, hex);
    } else if (json_is_string(body)) {
        reply_text(reply, status, copy_of_bytes(json_string_value(body), json_string_length(body)),
                   json_string_length(body));
    } else {
        reply_json(reply, status, json_incref(body));
    }
}

bool fault_answer(const json_t *canned, struct reply *reply)
{
    json_t *body = json_object_get(canned, "body");
    unsigned status = (unsigned)number(canned, "status", 200);
    const char *name;
    json_t *value;

    reply->close = json_is_true(json_object_get(canned, "close"));
    reply->hang = json_is_true(json_object_get(canned, "hang"));
    if (reply->close || reply->hang)
        return true;
    if (!body && !json_object_get(canned, "status"))
        return false;
    if (body)
        set_body(reply, status, body);
    else
        reply_error(reply, status, "canned answer");
    json_object_foreach(json_object_get(canned, "headers"), name, value)
    {
        reply_header(reply, name, json_string_value(value));
    }
    return true;
}

void fault_travel(const json_t *canned, struct reply *reply)
{
    reply->delay_ms = number(canned, "delay_ms", 0);
    reply->drip_ms = number(canned, "drip_ms", 0);
    reply->truncate = number(canned, "truncate", -1);
}
