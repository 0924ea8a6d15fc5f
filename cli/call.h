/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One call of a verb, and the verb itself.
 *
 * A verb asks whoever has the pool imported (call_request) and leaves what came of it as a document, to which it
 * adds what only people need: texts, and exit codes. It opens and closes nothing and prints nothing but progress.
 * Stages of a call, in order:
 *
 *   parse    operands and options, names checked            (main.c)
 *   check    verb->check: the other operands; errors here are wrong usage
 *   confirm  asks before what can't be undone               (call.c)
 *   open     joins the process that has the pool imported, or imports it (session.c); before that, in a read-only import,
 *            a dry run of what has one, so that a refusal leaves the disks as they are (call.c)
 *   work     verb->work: asks for it to be done, or for a job to be started
 *   wait     until the jobs in call->wait_kinds are done    (wait.c)
 *   finish   verb->finish: what came of it
 *   close    exports the pool, if it was imported here      (session.c)
 *   print    the document: as JSON, or verb->print as text
 */
#ifndef CLI_CALL_H
#define CLI_CALL_H

#include <json-c/json.h>

#include <libpool.h>

#include "cli/names.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/table.h"

enum exit_code {
	EXIT_CODE_SUCCESS = 0,
	EXIT_CODE_FAILURE = 1,
	EXIT_CODE_USAGE = 2,
	EXIT_CODE_DAMAGE = 3,  /* scrub and debug verify: it was done, and damage remains */
	EXIT_CODE_UNKNOWN = 4, /* status --check only */
};

struct call;

enum verb_open { OPEN_NONE, OPEN_READ, OPEN_WRITE };

struct verb {
	const char *name;     /* one or two words */
	const char *operands; /* as in the synopsis; completion comes from these words */
	const char *help;     /* one line */
	const char *details;  /* more lines for `help VERB`, or NULL */
	size_t operands_min, operands_max;
	enum target_form target; /* what the first operand is */
	enum verb_open open;
	bool changes;					  /* noted in the pool's history */
	uint64_t options;				  /* beside OPTIONS_COMMON */
	const struct column *columns;			  /* what -o chooses from, or NULL */
	int (*check)(struct call *call);		  /* NULL: nothing to check */
	const char *(*question)(const struct call *call); /* NULL: nothing to ask */
	int (*rehearse)(struct call *call);		  /* of verbs without a dry run: what can be refused before anything is written */
	int (*work)(struct call *call);
	int (*finish)(struct call *call);
	void (*print)(struct call *call);
	void (*print_part)(struct call *call, struct json_object *part); /* of verbs that emit parts */
};

struct call {
	const struct verb *verb;
	const char *group; /* instead of a verb, with --help: the first word of several */
	const struct libpool_host *host;
	struct options options;
	struct target target;
	char **operands; /* behind the target, if the verb has one */
	size_t operand_count;
	struct session session;
	uint64_t begun_ns;	      /* since 1970: jobs that ended before are not of this call */
	struct json_object *document; /* the result; begins with "schema" and "command" */
	struct libpool_error error;
	uint32_t wait_kinds; /* set by work: jobs it started, mask of 1 << kind */
	bool has_waited;     /* for them; otherwise they go on when the verb is over */
	bool rehearses;	     /* a dry run that nobody asked for: to be refused as what comes after it would be */
	enum exit_code exit_code;
	uint64_t size; /* a SIZE operand, set by check */
	bool json;
	bool streams;  /* what it shows goes on and on: with --json, one document a line, and none at the end */
	uint64_t parts; /* that were shown */
};

/* Shows a part of what the verb finds while it goes on: 0, or -EIO when the standard output takes no more. */
int call_emit(struct call *call, struct json_object *part);

/* Runs all stages but parse and print. 0, or the error is in call->error; call->exit_code is set. */
int call_run(struct call *call);
/*
 * Asks the session's server; the members of the result go into `into` (NULL: the document). params is taken over, and gets the
 * verb's line for the pool's history if the verb changes something. `what` names the work while progress is shown; NULL: none is.
 */
struct call_request {
	const char *method;
	struct json_object *params;
	int descriptor; /* -1: none */
	const char *what;
	struct json_object *into;
};
int call_request(struct call *call, const struct call_request *request);
/* The same without descriptor, progress and another document. */
int call_ask(struct call *call, const char *method, struct json_object *params);
/* How this verb imports a pool that nobody has imported. */
int call_import(struct call *call, const char *name, uint32_t read_only, struct session *session, struct libpool_error *error);
/* For verbs: fills call->error and returns `code`; call_usage also makes the exit code that of wrong usage.
 */
int call_usage(struct call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
