/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every option of every verb, once: the parser, the help, the completion and the synopsis of the manual come
 * from this list. An option means the same in all verbs that take it; a verb names those it takes as a mask.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpool.h>

/* clang-format off */
/* X(identifier, long name, letter or 0, kind, argument or NULL, help) */
#define OPTION_LIST(X)                                                                                            \
	X(FOLDER, "folder", 'd', FOLDERS, "FOLDER", "also search FOLDER for file-backed disks")                   \
	X(NO_DEVICES, "no-devices", 0, FLAG, NULL, "don't search the block devices of this machine")              \
	X(JSON, "json", 0, FLAG, NULL, "print one JSON document")                                                 \
	X(VERSION, "version", 'V', FLAG, NULL, "print the version")                                               \
	X(HELP, "help", 'h', FLAG, NULL, "explain the verb")                                                      \
	X(DRY_RUN, "dry-run", 'n', FLAG, NULL, "check everything and say what would happen, change nothing")      \
	X(YES, "yes", 'y', FLAG, NULL, "don't ask")                                                               \
	X(NO_HEADER, "no-header", 'H', FLAG, NULL, "no header, columns separated by one tab")                     \
	X(EXACT, "exact", 'p', FLAG, NULL, "exact numbers: bytes, seconds, seconds since 1970")                   \
	X(COLUMNS, "columns", 'o', TEXT, "COLUMN,...", "print these columns")                                     \
	X(VERBOSE, "verbose", 'v', FLAG, NULL, "print more")                                                      \
	X(CHECK, "check", 0, FLAG, NULL, "exit with 0 healthy, 1 degraded, 2 unusable, 4 unknown or wrong usage") \
	X(FORCE, "force", 'f', FLAG, NULL, "go on although what is there would be overwritten or is doubtful")    \
	X(READ_ONLY, "read-only", 0, FLAG, NULL, "change nothing on the disks")                                   \
	X(MISSING_LOG, "missing-log", 'm', FLAG, NULL, "although log disks are missing: give up what only they have")    \
	X(NO_VERIFY, "no-verify", 0, FLAG, NULL, "after an unclean stop: don't verify what the last commits wrote")       \
	X(REWIND, "rewind", 0, NUMBER, "TXG", "go back to transaction group TXG; discards what came later")       \
	X(DESTROYED, "destroyed", 0, FLAG, NULL, "also destroyed pools")                                          \
	X(CREATE_SIZE, "create-size", 0, SIZE, "SIZE", "create disks that are absent as sparse files of SIZE")    \
	X(ALLOCATION_UNIT, "allocation-unit", 0, SIZE, "SIZE", "256K to 16M; by the sizes of the disks if not given") \
	X(WAIT, "wait", 0, FLAG, NULL, "return when it is done")                                                  \
	X(PAUSE, "pause", 0, FLAG, NULL, "pause the scrub; starting it goes on from there")                       \
	X(STOP, "stop", 0, FLAG, NULL, "cancel the scrub or trim")                                                \
	X(DEEP, "deep", 0, FLAG, NULL, "also walk all trees and check every block against them")                  \
	X(LIMIT, "limit", 0, SIZE, "SIZE", "at most SIZE per second")                                             \
	X(BLOCK_SIZE, "block-size", 0, SIZE, "SIZE", "4K to 128K, a power of two; 16K if not given")              \
	X(RECORD_SIZE, "record-size", 0, SIZE, "SIZE", "4K to 1M, a power of two; by the use of each file if not given") \
	X(COMPRESSION, "compression", 0, TEXT, "HOW", "off, auto or zstd-1 to zstd-19")                           \
	X(CASESENSITIVITY, "casesensitivity", 0, TEXT, "HOW", "sensitive, or insensitive: upper and lower case are one name") \
	X(NORMALIZATION, "normalization", 0, TEXT, "FORM", "none, formD or formKD: spellings in Unicode that are one name") \
	X(FOLLOW, "follow", 'f', FLAG, NULL, "go on with what comes, until interrupted")                            \
	X(WATCH, "watch", 0, FLAG, NULL, "again every two seconds, until interrupted")                            \
	X(SOCKET, "socket", 0, TEXT, "PATH", "serve this socket instead of the one that poolctl looks for")       \
	X(OFFSET, "offset", 0, OFFSET, "SIZE", "begin at this offset of the volume")                              \
	X(LENGTH, "length", 0, SIZE, "SIZE", "at most this much")                                                 \
	X(RECURSIVE, "recursive", 'r', FLAG, NULL, "with all that lies in it")                                    \
	X(VOLUMES, "volumes", 0, FLAG, NULL, "volumes as files, instead of file systems")                         \
	X(CLIENT, "client", 0, CLIENTS, "HOST[:OPTION,...]", "nfs: who may reach it; may be given several times")  \
	X(SERVER, "server", 0, TEXT, "SERVER", "nfs: ganesha (if not given) or kernel")                           \
	X(NAME, "name", 0, TEXT, "NAME", "smb: what clients call the share")                                      \
	X(VALID_USERS, "valid-users", 0, TEXT, "USER,...", "smb: who may reach it: USER, @GROUP, either with :ro behind it") \
	X(MOUNT_OPTIONS, "options", 'o', TEXT, "OPTION,...", "ro, nosuid, nochildren, remount and others: see libpool-fuse(8)")
/* clang-format on */

enum option_kind {
	OPTION_KIND_FLAG,
	OPTION_KIND_TEXT,
	OPTION_KIND_SIZE,
	OPTION_KIND_OFFSET,
	OPTION_KIND_NUMBER,
	OPTION_KIND_FOLDERS,
	OPTION_KIND_CLIENTS
};

enum option_id {
#define X(identifier, ...) OPTION_##identifier,
	OPTION_LIST(X)
#undef X
	    OPTION_COUNT
};

#define OPTION_BIT(identifier) (UINT64_C(1) << OPTION_##identifier)
/* Of every verb; they may also stand before it. */
#define OPTIONS_COMMON                                                                                       \
	(OPTION_BIT(FOLDER) | OPTION_BIT(NO_DEVICES) | OPTION_BIT(JSON) | OPTION_BIT(VERSION) |              \
	 OPTION_BIT(HELP))
#define OPTIONS_TABLE (OPTION_BIT(NO_HEADER) | OPTION_BIT(EXACT) | OPTION_BIT(COLUMNS))

struct option_description {
	const char *name;
	char letter;
	enum option_kind kind;
	const char *argument, *help;
};
extern const struct option_description option_descriptions[OPTION_COUNT];

#define FOLDERS_MAX	    256
#define OPTION_CLIENTS_MAX 64

struct options {
	uint64_t given;			  /* mask of OPTION_BIT */
	const char *text[OPTION_COUNT];	  /* argument as it was typed */
	uint64_t number[OPTION_COUNT];	  /* of kinds SIZE, OFFSET and NUMBER */
	const char *folders[FOLDERS_MAX]; /* of -d, in order */
	size_t folder_count;
	const char *clients[OPTION_CLIENTS_MAX]; /* of --client, in order */
	size_t client_count;
};

static inline bool options_have(const struct options *options, enum option_id option)
{
	return options->given >> option & 1;
}

/*
 * Parses argv[1 ..] as far as options go; operands are moved to the end, *ret_first is the index of the
 * first. `stop_at_operand`: don't look beyond the first operand. Options outside `allowed` are refused in the
 * name of `verb`. Adds to *options. 0 or -EINVAL.
 */
int options_parse(int argc, char **argv, bool stop_at_operand, uint64_t allowed, const char *verb,
		  struct options *options, int *ret_first, struct libpool_error *error);

#endif
