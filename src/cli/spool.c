/* spool: look, prove, take out. */
#include "cli/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "export/survey.h"
#include "otlp/json_write.h"
#include "otlp/logs.h"
#include "util/clock.h"
#include "util/json.h"

enum { EXIT_DAMAGED = 65 }; /* sysexits: EX_DATAERR */

struct look {
    struct disk disk;
    struct survey survey;
    struct survey_findings found;
    const char *dir;
    bool json;
    struct buf payload, line; /* of export */
    uint64_t exported, unsound, damaged_segments;
};

static bool is_damaged(const struct look *l)
{
    return l->found.lost_frames > 0 || l->damaged_segments > 0 || l->survey.unreadable > 0 ||
           l->survey.headless > 0 || l->unsound > 0;
}

/* ---- export ------------------------------------------------------------- */

/* One frame as one line. */
static int write_frame(void *ctx, const struct segment_walk *w, const struct frame_head *head,
                       uint64_t payload_at)
{
    struct look *l = ctx;
    struct logs_count count;
    buf_clear(&l->payload);
    buf_clear(&l->line);
    int rc = buf_reserve_exact(&l->payload, head->bytes);
    if (rc < 0)
        return rc;
    int64_t got = disk_read(w->disk, w->file, l->payload.base, head->bytes, payload_at);
    if (got < 0 || (uint64_t)got < head->bytes)
        return got < 0 ? (int)got : -EIO;
    l->payload.len = head->bytes;
    rc = logs_check(buf_span(&l->payload), &count);
    if (rc == 0)
        rc = json_write_logs(&l->line, buf_span(&l->payload));
    if (rc == ERR_NOMEM)
        return rc;
    if (rc < 0) { /* sound bytes, but not logs: of another version, or not ours */
        l->unsound++;
        fprintf(stderr, "lipservice: frame %" PRIu64 ": %s\n", head->id, err_text(rc));
        return 0;
    }
    buf_append_byte(&l->line, '\n');
    if (l->line.err < 0)
        return l->line.err;
    if (fwrite(l->line.base, 1, l->line.len, stdout) != l->line.len)
        return -errno;
    l->exported++;
    return 0;
}

static void report_export(struct look *l)
{
    fprintf(stderr, "%" PRIu64 " requests, %" PRIu64 " records\n", l->exported, l->found.records);
}

/* ---- inspect, verify ---------------------------------------------------- */

static double oldest_s(const struct look *l)
{
    uint64_t now = clock_unix_ns(clock_real()), then = l->found.oldest_unix_ns;
    return then == 0 || then > now ? 0 : (double)(now - then) / 1e9;
}

static void segment_json(struct json *j, const struct segment *seg)
{
    json_begin(j, NULL);
    json_printf(j, "name", "\"%016" PRIx64 ".seg\"", seg->name_id);
    json_u64(j, "first_id", seg->first_id);
    json_u64(j, "end_id", seg->end_id);
    json_u64(j, "frames", seg->unread_frames);
    json_u64(j, "records", seg->unread_records);
    json_u64(j, "file_bytes", seg->file_bytes);
    json_bool(j, "damaged", seg->is_damaged);
    json_end(j);
}

static void damage_json(struct json *j, const struct look *l)
{
    json_begin(j, "damage");
    json_u64(j, "lost_frames", l->found.lost_frames);
    json_u64(j, "damaged_bytes", l->found.damaged_bytes);
    json_u64(j, "unfinished_bytes", l->found.torn_bytes);
    json_u64(j, "duplicate_frames", l->found.duplicate_frames);
    json_u64(j, "unreadable_segments", l->survey.unreadable);
    json_u64(j, "headless_segments", l->survey.headless);
    json_u64(j, "kept_aside_files", l->survey.aside_files);
    json_u64(j, "kept_aside_bytes", l->survey.aside_bytes);
    json_end(j);
}

static void report_json(struct look *l)
{
    struct buf out = {0};
    struct json j = json_on(&out);
    json_begin(&j, NULL);
    json_str(&j, "directory", l->dir);
    json_u64(&j, "frames", l->found.frames);
    json_u64(&j, "records", l->found.records);
    json_u64(&j, "payload_bytes", l->found.bytes);
    json_printf(&j, "oldest_seconds", "%.3f", oldest_s(l));
    json_u64(&j, "next_id", l->found.next_id);
    if (l->survey.has_position) {
        json_begin(&j, "position");
        json_u64(&j, "settled", l->survey.position.settled);
        json_u64(&j, "stored", l->survey.position.stored);
        json_end(&j);
    } else {
        json_null(&j, "position");
    }
    damage_json(&j, l);
    json_begin_list(&j, "segments");
    for (size_t i = 0; i < l->survey.count; i++)
        segment_json(&j, &l->survey.segments[i]);
    json_end_list(&j);
    json_end(&j);
    json_line(&j);
    if (out.err == 0)
        fwrite(out.base, 1, out.len, stdout);
    buf_done(&out);
}

static void report(struct look *l)
{
    const struct survey_findings *f = &l->found;
    if (l->json) {
        report_json(l);
        return;
    }
    printf("%-20s  %10s  %8s  %10s  %12s\n", "segment", "first id", "waiting", "records", "bytes");
    for (size_t i = 0; i < l->survey.count; i++) {
        const struct segment *seg = &l->survey.segments[i];
        printf("%016" PRIx64 ".seg  %10" PRIu64 "  %8" PRIu64 "  %10" PRIu64 "  %12" PRIu64 "%s\n",
               seg->name_id, seg->first_id, seg->unread_frames, seg->unread_records,
               seg->file_bytes, seg->is_damaged ? "  damaged" : "");
    }
    printf("\n%" PRIu64 " frames with %" PRIu64 " records (%" PRIu64
           " bytes) wait; the oldest for %.0f s\n",
           f->frames, f->records, f->bytes, oldest_s(l));
    if (l->survey.has_position)
        printf("delivered: all below id %" PRIu64 "; next id %" PRIu64 "\n",
               l->survey.position.settled, f->next_id);
    else
        printf("no position (%s): all that is here would be delivered\n",
               err_text(l->survey.position_err));
    const struct {
        const char *what;
        uint64_t n;
    } damage[] = {
        {"frames missing", f->lost_frames},
        {"bytes damaged", f->damaged_bytes},
        {"bytes of an unfinished tail, which is cut at the next start", f->torn_bytes},
        {"frames that are there twice", f->duplicate_frames},
        {"segments that cannot be read", l->survey.unreadable},
        {"segments without a sound header", l->survey.headless},
        {"files kept aside", l->survey.aside_files},
    };
    for (size_t i = 0; i < ARRAY_LEN(damage); i++)
        if (damage[i].n > 0)
            printf("%" PRIu64 " %s\n", damage[i].n, damage[i].what);
    if (!is_damaged(l))
        printf("nothing is damaged\n");
}

/* ---- the verb ----------------------------------------------------------- */

static const struct action {
    const char *name;
    bool proves_all;
    bool tells_damage; /* by the exit code */
    survey_frame_fn *each;
    void (*report)(struct look *l);
} actions[] = {
    /* clang-format off */
    {"inspect", false, false, NULL,        report},
    {"verify",  true,  true,  NULL,        report},
    {"export",  true,  true,  write_frame, report_export},
    /* clang-format on */
};

static int look_at(struct look *l, const struct action *action)
{
    struct error err = {{0}};
    const struct survey_opts opts = {0};
    int rc = disk_open(&l->disk, l->dir, false);
    if (rc == 0)
        rc = survey_read(&l->survey, &l->disk, &opts, &err);
    if (rc == ERR_UNSUPPORTED) {
        fprintf(stderr, "lipservice: %s: %s\n", l->dir, err.text);
        return EXIT_CONFIG;
    }
    if (rc == 0)
        rc = survey_walk(&l->survey, &l->disk, action->proves_all, &l->found, action->each, l);
    if (rc < 0) {
        fprintf(stderr, "lipservice: %s: %s\n", l->dir, err_text(rc));
        return rc == ERR_NOMEM ? EXIT_BUG : EXIT_UNAVAILABLE;
    }
    for (size_t i = 0; i < l->survey.count; i++)
        l->damaged_segments += l->survey.segments[i].is_damaged;
    action->report(l);
    if (fflush(stdout) != 0)
        return EXIT_BUG;
    return action->tells_damage && is_damaged(l) ? EXIT_DAMAGED : EXIT_OK;
}

int verb_spool(int argc, char **argv)
{
    const struct action *action = NULL;
    struct look l = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            l.json = true;
        else if (argv[i][0] == '-')
            return command_usage_error("unknown option ", argv[i]);
        else if (action == NULL) {
            for (size_t j = 0; j < ARRAY_LEN(actions); j++)
                if (strcmp(argv[i], actions[j].name) == 0)
                    action = &actions[j];
            if (action == NULL)
                return command_usage_error("spool: inspect, verify or export, not ", argv[i]);
        } else if (l.dir == NULL)
            l.dir = argv[i];
        else
            return command_usage_error("unexpected argument ", argv[i]);
    }
    if (l.dir == NULL)
        return command_usage_error("spool: which directory?", "");
    int code = look_at(&l, action);
    survey_done(&l.survey);
    disk_close(&l.disk);
    buf_done(&l.payload);
    buf_done(&l.line);
    return code;
}
