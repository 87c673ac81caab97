/*
 * sim_disk: a directory in memory that remembers what is durable and what is not.
 *
 * Every write, change of size, creation, removal and renaming since the last sync of
 * its file (or of the directory) is kept in a log. A crash state is what a machine may
 * find after losing power: of each logged operation it is drawn whether it reached the
 * disk, and of writes also which of their 512 or 4096 byte sectors did.
 *
 * Faults: one call, or all from it on, fail by a given code; a part of a file cannot be read; no
 * file can be opened.
 */
#pragma once

#include "export/disk.h"
#include "util/rng.h"

struct sim_op {
    bool is_size;    /* else a write */
    uint64_t at;     /* of a write; the new size */
    size_t len, log; /* where its bytes are */
};

struct sim_file {
    uint8_t *now, *durable;
    size_t now_size, now_cap, durable_size, durable_cap;
    struct sim_op *ops;
    size_t op_count, op_cap;
    uint8_t *log;
    size_t log_size, log_cap;
};

struct sim_entry {
    char name[48];
    int file;
};

enum sim_dir_verb { SIM_CREATE, SIM_UNLINK, SIM_RENAME };

struct sim_dir_op {
    enum sim_dir_verb verb;
    char name[48], to[48];
    int file;
};

struct sim_dir {
    struct sim_entry *entries;
    size_t count, cap;
};

struct sim {
    struct sim_file *files;
    size_t file_count, file_cap;
    struct sim_dir now, durable;
    struct sim_dir_op *dir_ops;
    size_t dir_op_count, dir_op_cap;
    struct rng rng; /* what becomes of data whose fsync failed */

    uint64_t calls;   /* that may fail */
    uint64_t fail_at; /* the first that does, from 1; 0: none */
    bool fail_for_ever;
    int fail_code; /* -errno; SIM_SHORT: half of a write or read is done */
    bool cannot_allocate;
    int open_code;             /* existing files cannot be opened to be read: -errno; 0: they can */
    struct sim_file *bad_file; /* its bytes [bad_from, bad_to) cannot be read: EIO */
    uint64_t bad_from, bad_to;
    int64_t free_bytes; /* 0: more than anybody wants */
};

#define SIM_SHORT (-100000)

enum sim_crash { SIM_KILL, SIM_NOTHING, SIM_DRAWN, SIM_TORN, SIM_CRASHES };

void sim_init(struct sim *s, uint64_t seed);
void sim_done(struct sim *s);
struct disk sim_disk(struct sim *s); /* close_dir() leaves the sim as it is */

/* What may be found after a crash of *s, as a disk of its own on which all is durable. */
void sim_crash(struct sim *out, const struct sim *s, enum sim_crash how, struct rng *rng);

/* A copy with all that is not durable yet: what a kill leaves to the next process. */
void sim_clone(struct sim *out, const struct sim *s);

/* The content of a file, to be looked at or damaged (then it is durable, too). NULL: there is none.
 */
struct sim_file *sim_find(struct sim *s, const char *name);
/* A file with that content, durable. */
void sim_put(struct sim *s, const char *name, const void *bytes, size_t n);
