/* What operators read: one function a kind of event, with its structured fields. */
#pragma once

#include "service/reconcile.h"
#include "service/revoke.h"
#include "service/sync.h"
#include "store/intake.h"

void journal_started(const char *ledger_path, bool once);
void journal_stopped(void);
void journal_reloaded(const char *path);
void journal_reload_refused(const char *why);
void journal_verdict(const struct verdict_change *change);
void journal_api_trouble(const char *what);
void journal_api_recovered(void);
void journal_quarantined(const struct sync_question *question, int64_t records);
void journal_pass(const struct sync_news *news);
void journal_intake(const struct intake_counts *counts);
void journal_revocation(const struct revoke_news *news, const struct revoke_answer *answer);
void journal_no_vault(int64_t sessions);
void journal_database(const char *what);
/* Both in ms. */
void journal_grace(int64_t configured, int64_t grace);
void journal_vanished(int64_t records);
/* The clock moved by so many ms while so many passed. */
void journal_clock(int64_t moved, int64_t passed, int64_t held_until);
void journal_metrics(const char *what);
