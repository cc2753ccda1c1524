#include "records.h"

#include <errno.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "core/timestamp.h"
#include "memory.h"

struct records {
    struct record *all;
    size_t n, allocated;
    uint64_t sequence;
    bool sorted;
};

struct records *records_new(void)
{
    return must(calloc(1, sizeof(struct records)));
}

static void record_clear(struct record *record)
{
    free(record->id);
    free(record->type);
    free(record->text);
}

struct records *records_free(struct records *records)
{
    if (!records)
        return NULL;
    records_remove(records, NULL);
    free(records->all);
    free(records);
    return NULL;
}

void records_add(struct records *records, struct record record)
{
    GROW(records->all, records->n, records->allocated);
    record.sequence = records->sequence++;
    records->all[records->n++] = record;
    records->sorted = false;
}

size_t records_remove(struct records *records, const char *id)
{
    size_t kept = 0, removed;

    for (size_t i = 0; i < records->n; i++) {
        if (id && strcmp(records->all[i].id, id) != 0)
            records->all[kept++] = records->all[i];
        else
            record_clear(&records->all[i]);
    }
    removed = records->n - kept;
    records->n = kept;
    return removed;
}

static int compare(const void *pa, const void *pb)
{
    const struct record *a = pa, *b = pb;
    int by_id;

    if (a->created_at != b->created_at)
        return a->created_at < b->created_at ? -1 : 1;
    by_id = strcmp(a->id, b->id);
    if (by_id != 0)
        return by_id;
    return a->sequence < b->sequence ? -1 : 1;
}

const struct record *records_sorted(struct records *records, size_t *ret_n)
{
    if (!records->sorted && records->n > 0)
        qsort(records->all, records->n, sizeof(records->all[0]), compare);
    records->sorted = true;
    *ret_n = records->n;
    return records->all;
}

size_t records_first_at(const struct record *sorted, size_t n, int64_t at)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (sorted[middle].created_at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* --- JSON ---------------------------------------------------------------- */

static int read_time(const json_t *wrapper, const char *name, int64_t *ret, struct error *err)
{
    const json_t *value = json_object_get(wrapper, name);

    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value) || timestamp_parse(json_string_value(value), ret) < 0)
        return error_set(err, -EINVAL, "%s: not a time", name);
    return 0;
}

static const char *member(const json_t *record, const char *name)
{
    const char *text = json_string_value(json_object_get(record, name));

    return text ? text : "";
}

/* What a record says of its own creation; `now` when it says nothing that can be read. */
static int64_t own_time(const json_t *record, int64_t now)
{
    int64_t at = now;

    if (timestamp_parse(member(record, "createdAt"), &at) < 0)
        timestamp_parse(member(record, "transDate"), &at);
    return at;
}

int record_from_json(const json_t *value, int64_t now, struct record *ret, struct error *err)
{
    const json_t *raw = json_object_get(value, "raw");
    const json_t *record = json_object_get(value, "record");
    const json_t *wrapper = raw || record ? value : NULL;
    struct record result = {.visible_at = INT64_MIN, .hidden_after = INT64_MAX};
    int r;

    if (raw && !json_is_string(raw))
        return error_set(err, -EINVAL, "raw: not a text");
    if (!raw && !record)
        record = value;
    result.created_at = own_time(record, now);
    r = read_time(wrapper, "created_at", &result.created_at, err);
    if (r == 0)
        r = read_time(wrapper, "visible_at", &result.visible_at, err);
    if (r == 0)
        r = read_time(wrapper, "hidden_after", &result.hidden_after, err);
    if (r < 0)
        return r;
    result.id = copy_of(json_object_get(wrapper, "id") ? member(wrapper, "id")
                                                       : member(record, "transactionId"));
    result.type = copy_of(member(record, "transactionType"));
    result.text = raw ? copy_of(json_string_value(raw))
                      : must(json_dumps(record, JSON_COMPACT | JSON_ENCODE_ANY));
    *ret = result;
    return 0;
}

static json_t *time_to_json(int64_t at)
{
    char text[TIMESTAMP_TEXT_SIZE];

    if (at == INT64_MIN || at == INT64_MAX)
        return json_null();
    return json_string(timestamp_format(at, text));
}

json_t *record_to_json(const struct record *record)
{
    json_t *parsed = json_loads(record->text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "id", record->id, "created_at",
                     time_to_json(record->created_at), "visible_at",
                     time_to_json(record->visible_at), "hidden_after",
                     time_to_json(record->hidden_after), parsed ? "record" : "raw",
                     parsed ? parsed : json_string(record->text));
}
