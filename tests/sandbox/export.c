#include "export.h"

#include <ctype.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>

#include "core/timestamp.h"
#include "memory.h"

static json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

json_t *export_truth_json(const struct world *world)
{
    json_t *orders = must(json_array()), *sessions = must(json_array());

    for (size_t i = 0; i < world->n_orders; i++) {
        const struct order *order = &world->orders[i];

        json_array_append_new(
            orders, json_pack("{s:s, s:s, s:o, s:s}", "order_id", order->id, "expected_verdict",
                              order->verdict, "transaction_id", text_or_null(order->transaction_id),
                              "story", order->story));
    }
    for (size_t i = 0; i < world->n_sessions; i++) {
        const struct session *session = &world->sessions[i];

        json_array_append_new(sessions,
                              json_pack("{s:s, s:s, s:o, s:s}", "session_id", session->id,
                                        "session_key", session->key, "expected_outcome",
                                        text_or_null(session->outcome), "story", session->story));
    }
    return json_pack("{s:o, s:o}", "orders", orders, "sessions", sessions);
}

/* --- files --------------------------------------------------------------- */

static int open_file(const char *path, FILE **ret, struct error *err)
{
    *ret = fopen(path, "we");
    return *ret ? 0 : error_set(err, -errno, "%s: %s", path, strerror(errno));
}

static int close_file(FILE *file, const char *path, struct error *err)
{
    int failed = ferror(file);

    return fclose(file) != 0 || failed ? error_set(err, -EIO, "%s: cannot write", path) : 0;
}

/* RFC 4180. */
static void write_csv(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

int export_truth_csv(const struct world *world, const char *path, struct error *err)
{
    FILE *out;
    int r = open_file(path, &out, err);

    if (r < 0)
        return r;
    fputs("order_id,expected_verdict,transaction_id,story\r\n", out);
    for (size_t i = 0; i < world->n_orders; i++) {
        const struct order *order = &world->orders[i];

        fprintf(out, "%s,%s,%s,", order->id, order->verdict, order->transaction_id);
        write_csv(out, order->story);
        fputs("\r\n", out);
    }
    return close_file(out, path, err);
}

/* --- SQL ----------------------------------------------------------------- */

/* One statement; %Q of SQLite's printf quotes a text and writes NULL for a null pointer. */
static void write_sql(FILE *out, const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    text = must(sqlite3_vmprintf(format, args));
    va_end(args);
    fputs(text, out);
    sqlite3_free(text);
}

static const char *in_capitals(const char *text, bool wanted, char *buffer, size_t size)
{
    size_t i = 0;

    for (; text[i] && i + 1 < size; i++)
        buffer[i] = (char)(wanted ? toupper((unsigned char)text[i]) : text[i]);
    buffer[i] = '\0';
    return buffer;
}

/* A further attempt is a further row: it is ignored where the first still waits, which for these
 * orders changes nothing. */
static void write_attempt(FILE *out, const struct order *order, size_t attempt)
{
    char amount[MONEY_TEXT_SIZE], at[TIMESTAMP_TEXT_SIZE], brand[16], email[64];
    const struct customer *who = order->who;

    write_sql(out,
              "INSERT%s INTO pending_orders (order_id, amount, currency, attempted_at, http_status,"
              " card_last_four, card_brand, card_bin, billing_email)"
              " VALUES (%Q, %Q, %Q, %Q, %d, %Q, %Q, %Q, %Q);\n",
              attempt > 0 ? " OR IGNORE" : "", order->id, money_format(order->amount, amount),
              order->amount.currency, timestamp_format(order->attempts[attempt], at),
              order->http_status, order->tells_last_four ? who->last_four : NULL,
              order->tells_brand ? in_capitals(who->brand, order->upper_case, brand, sizeof(brand))
                                 : NULL,
              order->tells_bin ? who->bin : NULL,
              order->tells_email ? in_capitals(who->email, order->upper_case, email, sizeof(email))
                                 : NULL);
}

static void write_session(FILE *out, const struct session *session)
{
    char created_at[TIMESTAMP_TEXT_SIZE], last_seen_at[TIMESTAMP_TEXT_SIZE];

    write_sql(out,
              "INSERT INTO sessions (session_id, session_key, created_at, expires_in,"
              " last_seen_at, ended) VALUES (%Q, %Q, %Q, %d, %Q, %Q);\n",
              session->id, session->key, timestamp_format_query(session->created_at, created_at),
              session->expires_in,
              session->last_seen_at ? timestamp_format(session->last_seen_at, last_seen_at) : NULL,
              session->ended);
}

int export_queue_sql(const struct world *world, const char *path, struct error *err)
{
    FILE *out;
    int r = open_file(path, &out, err);

    if (r < 0)
        return r;
    fputs("BEGIN IMMEDIATE;\n", out);
    for (size_t i = 0; i < world->n_orders; i++)
        for (size_t k = 0; k < world->orders[i].n_attempts; k++)
            write_attempt(out, &world->orders[i], k);
    for (size_t i = 0; i < world->n_claims; i++)
        write_sql(out, "INSERT INTO claims (transaction_id, order_id) VALUES (%Q, %Q);\n",
                  world->claims[i].transaction_id, world->claims[i].order_id);
    for (size_t i = 0; i < world->n_sessions; i++)
        write_session(out, &world->sessions[i]);
    fputs("COMMIT;\n", out);
    return close_file(out, path, err);
}
