/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every verb, once. Dispatch, help, completion and the synopsis of the manual come from this table; operands
 * are written as the synopsis shows them, and completion offers disks for DISK, pools for POOL and so on.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/text.h"
#include "cli/verbs.h"

#define MANY		4096
#define BIT(identifier) OPTION_BIT(identifier)

/* clang-format off */
const struct verb verbs[] = {
	{ .name = "create", .operands = "POOL PROFILE DISK...", .operands_min = 3, .operands_max = MANY,
	  .help = "create a pool",
	  .details = "PROFILE is single, raid1, raid1c3, raid1c4, raid5, raid6 or raid7, or one with an explicit\n"
		     "width such as raid6:4+2. A DISK is a block device or a file of 64 MiB or more. With -n the\n"
		     "layout and the usable size are shown and nothing is written.",
	  .target = TARGET_NEW_POOL, .options = BIT(DRY_RUN) | BIT(FORCE) | BIT(CREATE_SIZE) | BIT(ALLOCATION_UNIT) | BIT(EXACT),
	  .check = create_check, .work = create_work, .print = create_print },
	{ .name = "destroy", .operands = "POOL", .operands_min = 1, .operands_max = 1, .help = "give up a pool",
	  .details = "The disks are only marked: undestroy brings the pool back until they are used again.",
	  .target = TARGET_POOL, .options = BIT(DRY_RUN) | BIT(YES), .question = destroy_question, .work = destroy_work,
	  .print = print_text },
	{ .name = "undestroy", .operands = "POOL", .operands_min = 1, .operands_max = 1,
	  .help = "bring a destroyed pool back", .target = TARGET_POOL, .options = BIT(DRY_RUN), .work = undestroy_work,
	  .print = print_text },
	{ .name = "import", .operands = "[POOL]", .operands_min = 0, .operands_max = 1,
	  .help = "import a pool; without POOL: list what can be imported",
	  .details = "A process in the background ('poolctl serve') keeps it imported until it is exported, goes on with its\n"
		     "jobs, and does for other commands what they ask for. --force also takes a pool that another host\n"
		     "used last and did not export, that was used in two halves, or that lacks disks and has flushed\n"
		     "changes where it can't be read: these are left out then, and the event log.lost tells.\n"
		     "--missing-log takes one that lacks log disks and was not exported: what was flushed and not committed\n"
		     "is lost with them, and status and the event log.lost tell of which transaction groups. It asks first: attached,\n"
		     "the disks give it back. It is no option for unit files: each later loss would be accepted, too.\n"
		     "A pool that was not exported is verified in the background as far as its last three commits go (the job\n"
		     "verify of status): a disk that lies about what is durable shows itself, and what it lacks is made anew\n"
		     "while the others have it. --no-verify leaves that out; a read-only import never does it.",
	  .target = TARGET_POOL_OPTIONAL,
	  .options = OPTIONS_TABLE | BIT(DRY_RUN) | BIT(YES) | BIT(FORCE) | BIT(READ_ONLY) | BIT(MISSING_LOG) | BIT(NO_VERIFY) | BIT(REWIND) | BIT(DESTROYED) | BIT(VERBOSE),
	  .columns = import_columns, .check = import_check, .question = import_question, .work = import_work, .print = import_print },
	{ .name = "serve", .operands = "POOL", .operands_min = 1, .operands_max = 1,
	  .help = "import a pool and stay, for service managers",
	  .details = "As import, but in the foreground. SIGTERM, SIGINT and 'poolctl export' end it and export the pool.\n"
		     "Tells systemd when it is ready (Type=notify).",
	  .target = TARGET_POOL,
	  .options = BIT(YES) | BIT(FORCE) | BIT(READ_ONLY) | BIT(MISSING_LOG) | BIT(NO_VERIFY) | BIT(REWIND) | BIT(DESTROYED) | BIT(SOCKET),
	  .check = serve_check, .question = import_question, .work = serve_work, .print = print_text },
	{ .name = "export", .operands = "POOL", .operands_min = 1, .operands_max = 1, .help = "release the disks of a pool",
	  .details = "Refused while volumes are in use, unless --force is given: their users' reads and writes fail from then on.",
	  .target = TARGET_POOL, .options = BIT(FORCE), .work = export_work, .print = print_text },
	{ .name = "list", .operands = "[POOL]", .operands_min = 0, .operands_max = 1, .help = "list pools",
	  .target = TARGET_POOL_OPTIONAL, .options = OPTIONS_TABLE | BIT(DESTROYED) | BIT(VERBOSE), .columns = list_columns,
	  .work = list_work, .print = list_print },
	{ .name = "status", .operands = "[POOL]", .operands_min = 0, .operands_max = 1,
	  .help = "show what is wrong, what to do, jobs, disks and damage",
	  .details = "Damaged files are told by path if their file system is mounted, or nobody has the pool imported.\n"
		     "With --check the exit code tells: 0 healthy, 1 degraded, 2 unusable, 4 unknown or wrong usage.",
	  .target = TARGET_POOL_OPTIONAL, .options = OPTIONS_TABLE | BIT(VERBOSE) | BIT(CHECK) | BIT(WATCH), .columns = status_columns,
	  .check = status_check, .work = status_work, .print = status_print, .print_part = status_print_part },
	{ .name = "scrub", .operands = "POOL", .operands_min = 1, .operands_max = 1,
	  .help = "read everything, repair what is damaged",
	  .details = "Starts a scrub, or goes on with a paused one. Where the pool is imported the command returns at once,\n"
		     "unless --wait is given. Exits with 3 when it has waited and damage remains.\n"
		     "With disks missing it says how much could not be checked: cells that no disk in service has.",
	  .target = TARGET_POOL, .open = OPEN_WRITE, .changes = true,
	  .options = BIT(WAIT) | BIT(PAUSE) | BIT(STOP) | BIT(DEEP) | BIT(LIMIT), .check = scrub_check, .rehearse = scrub_rehearse, .work = scrub_work, .finish = scrub_finish,
	  .print = print_text },
	{ .name = "trim", .operands = "POOL [DISK]...", .operands_min = 1, .operands_max = MANY,
	  .help = "tell disks which of their space is free",
	  .details = "Without DISK all of them. Sparse files shrink, SSDs and thin volumes learn what they needn't keep. What is\n"
		     "trimmed are whole allocation units that are free; one that is being trimmed isn't written to. Where the pool\n"
		     "is imported the command returns at once, unless --wait is given. A trim that was interrupted begins\n"
		     "again. See the property autotrim for trims in the background.",
	  .target = TARGET_POOL, .open = OPEN_WRITE, .changes = true, .options = BIT(WAIT) | BIT(STOP) | BIT(LIMIT),
	  .check = trim_check, .rehearse = trim_rehearse, .work = trim_work, .finish = trim_finish, .print = print_text },
	{ .name = "replace", .operands = "POOL OLD NEW", .operands_min = 3, .operands_max = 3, .help = "replace a disk",
	  .details = "OLD is a path, also the last one of a disk that is gone, an id (8 digits of it are enough), or\n"
		     "\"#3\" for the disk of index 3. NEW may be smaller if there is room elsewhere.",
	  .target = TARGET_POOL, .open = OPEN_WRITE, .changes = true,
	  .options = BIT(WAIT) | BIT(DRY_RUN) | BIT(FORCE) | BIT(CREATE_SIZE), .check = replace_check, .work = replace_work,
	  .finish = replace_finish, .print = print_text },
	{ .name = "offline", .operands = "POOL DISK", .operands_min = 2, .operands_max = 2, .help = "stop using a disk",
	  .target = TARGET_POOL, .open = OPEN_WRITE, .changes = true, .options = BIT(DRY_RUN), .work = offline_work,
	  .print = print_text },
	{ .name = "online", .operands = "POOL DISK [PATH]", .operands_min = 2, .operands_max = 3,
	  .help = "use a disk again and bring it up to date",
	  .details = "PATH is where the disk is now, if not where it was.",
	  .target = TARGET_POOL, .open = OPEN_WRITE, .changes = true, .options = BIT(WAIT) | BIT(DRY_RUN), .check = online_check,
	  .work = online_work, .finish = online_finish, .print = print_text },
	{ .name = "device add", .operands = "POOL ROLE DISK...", .operands_min = 3, .operands_max = MANY,
	  .help = "give the intent log disks of its own",
	  .details = "ROLE is log. Synchronous writes then wait for these disks only. Two or more mirror each other, up to as many as\n"
		     "the pool survives failed disks, and one more. A single one isn't mirrored: if it dies, or silently gives back\n"
		     "something else than the last block that it was given, nothing else has that. If the last copy is lost with a crash, what was flushed in the last\n"
		     "seconds before it is lost, and nothing else: see import --missing-log. No disk is taken that isn't named here.",
	  .target = TARGET_POOL, .open = OPEN_WRITE, .changes = true, .options = BIT(DRY_RUN) | BIT(FORCE) | BIT(CREATE_SIZE),
	  .check = device_add_check, .work = device_add_work, .print = print_text },
	{ .name = "device remove", .operands = "POOL DISK", .operands_min = 2, .operands_max = 2, .help = "remove a log disk",
	  .details = "At any time, also one that is lost. The log goes to the other log disks, or to the pool's own disks. The disk is free for\n"
		     "something else then; one that wasn't there keeps its label, and has to be overwritten with --force.",
	  .target = TARGET_POOL, .open = OPEN_WRITE, .changes = true, .options = BIT(DRY_RUN), .work = device_remove_work,
	  .print = print_text },
	{ .name = "clear", .operands = "POOL [DISK]", .operands_min = 1, .operands_max = 2,
	  .help = "clear error counters and the list of damage", .target = TARGET_POOL, .open = OPEN_WRITE, .changes = true,
	  .options = BIT(DRY_RUN), .work = clear_work, .print = print_text },
	{ .name = "volume create", .operands = "POOL/VOLUME SIZE", .operands_min = 2, .operands_max = 2,
	  .help = "create a volume", .target = TARGET_VOLUME, .open = OPEN_WRITE, .changes = true,
	  .options = BIT(DRY_RUN) | BIT(BLOCK_SIZE) | BIT(COMPRESSION), .check = volume_size_check, .work = volume_create_work, .print = print_text },
	{ .name = "volume destroy", .operands = "POOL/VOLUME", .operands_min = 1, .operands_max = 1,
	  .help = "destroy a volume and its data", .target = TARGET_VOLUME, .open = OPEN_WRITE, .changes = true,
	  .options = BIT(DRY_RUN) | BIT(YES), .question = volume_destroy_question, .work = volume_destroy_work,
	  .print = print_text },
	{ .name = "volume resize", .operands = "POOL/VOLUME SIZE", .operands_min = 2, .operands_max = 2,
	  .help = "change the size of a volume", .details = "Making it smaller discards what lies beyond and needs --yes.",
	  .target = TARGET_VOLUME, .open = OPEN_WRITE, .changes = true, .options = BIT(DRY_RUN) | BIT(YES),
	  .check = volume_size_check, .work = volume_resize_work, .print = print_text },
	{ .name = "volume list", .operands = "POOL", .operands_min = 1, .operands_max = 1, .help = "list the volumes of a pool",
	  .target = TARGET_POOL, .open = OPEN_READ, .options = OPTIONS_TABLE | BIT(VERBOSE), .columns = volume_columns,
	  .work = volume_list_work, .print = volume_list_print },
	{ .name = "dataset create", .operands = "POOL/DATASET", .operands_min = 1, .operands_max = 1,
	  .help = "create a file system",
	  .details = "DATASET is a name, or a path such as home/anna: it lies in the file system home then, which must exist.",
	  .target = TARGET_DATASET, .open = OPEN_WRITE, .changes = true,
	  .options = BIT(DRY_RUN) | BIT(RECORD_SIZE) | BIT(COMPRESSION) | BIT(CASESENSITIVITY) | BIT(NORMALIZATION), .check = dataset_create_check, .work = dataset_create_work,
	  .print = print_text },
	{ .name = "dataset destroy", .operands = "POOL/DATASET", .operands_min = 1, .operands_max = 1,
	  .help = "destroy a file system and all files in it",
	  .details = "Refused while other datasets lie in it, unless -r is given: then all of them go at once.",
	  .target = TARGET_DATASET, .open = OPEN_WRITE, .changes = true,
	  .options = BIT(DRY_RUN) | BIT(YES) | BIT(RECURSIVE), .question = dataset_destroy_question, .work = dataset_destroy_work, .print = print_text },
	{ .name = "dataset rename", .operands = "POOL/DATASET POOL/DATASET", .operands_min = 2, .operands_max = 2,
	  .help = "give a file system or volume another name or place",
	  .details = "What lies in it goes along. Neither it nor anything in it may be in use.",
	  .target = TARGET_DATASET, .open = OPEN_WRITE, .changes = true, .options = BIT(DRY_RUN), .check = dataset_rename_check,
	  .work = dataset_rename_work, .print = print_text },
	{ .name = "dataset list", .operands = "POOL", .operands_min = 1, .operands_max = 1, .help = "list the file systems of a pool",
	  .target = TARGET_POOL, .open = OPEN_READ, .options = OPTIONS_TABLE | BIT(VERBOSE), .columns = dataset_columns,
	  .work = dataset_list_work, .print = dataset_list_print },
	{ .name = "mount", .operands = "POOL[/DATASET] FOLDER", .operands_min = 2, .operands_max = 2,
	  .help = "mount file systems",
	  .details = "With all that lies in them: each is a mount of its own, beneath the one that it lies in. Where the pool isn't\n"
		     "imported, libpool-fuse(8) is started, and exports it when nothing is mounted any more. With --volumes each volume is a\n"
		     "file of its size, in folders that are called as the datasets.",
	  .target = TARGET_POOL_OR_DATASET, .options = BIT(MOUNT_OPTIONS) | BIT(VOLUMES), .work = mount_work, .print = print_text },
	{ .name = "unmount", .operands = "FOLDER", .operands_min = 1, .operands_max = 1,
	  .help = "unmount file systems",
	  .details = "What is mounted at FOLDER, and beneath. POOL or POOL/DATASET in its place: wherever that is mounted.",
	  .target = TARGET_NONE, .work = unmount_work, .print = print_text },
	{ .name = "share add", .operands = "POOL/DATASET PROTOCOL", .operands_min = 2, .operands_max = 2,
	  .help = "share a mounted file system over nfs or smb",
	  .details = "Only with whom the options name. A HOST is an address, a network as 192.0.2.0/24 or 2001:db8::/32, a machine's name\n"
		     "or @NETGROUP; its options are ro (if not given), rw, root_squash (if not given), no_root_squash, all_squash,\n"
		     "anonuid=NUMBER, anongid=NUMBER and sec=sys:krb5:krb5i:krb5p. Of several that fit, the most exact one counts.\n"
		     "What lies in the dataset is shared apart. The configuration of NFS-Ganesha, of the kernel's server (exports(5)) or of\n"
		     "Samba is written and read anew; with -n it is shown. --force puts other rules in place of what is there.",
	  .target = TARGET_DATASET,
	  .options = BIT(DRY_RUN) | BIT(FORCE) | BIT(CLIENT) | BIT(SERVER) | BIT(NAME) | BIT(VALID_USERS), .check = share_add_check,
	  .work = share_add_work, .print = share_change_print },
	{ .name = "share remove", .operands = "POOL/DATASET [PROTOCOL]", .operands_min = 1, .operands_max = 2,
	  .help = "share a file system no longer",
	  .details = "Neither over nfs nor smb, if none is named. Nor does it have to be there any more.",
	  .target = TARGET_DATASET, .options = BIT(DRY_RUN) | BIT(NAME), .check = share_remove_check, .work = share_remove_work,
	  .print = share_change_print },
	{ .name = "share refresh", .operands = "", .operands_min = 0, .operands_max = 0,
	  .help = "write the configuration of servers anew",
	  .details = "NFS-Ganesha would share the folder where a file system isn't mounted: such shares are left out, until this is done\n"
		     "again. The service of nfs-ganesha does it before it starts.",
	  .target = TARGET_NONE, .options = BIT(DRY_RUN), .work = share_refresh_work, .print = share_change_print },
	{ .name = "share list", .operands = "[POOL]", .operands_min = 0, .operands_max = 1, .help = "list what this machine shares, and with whom",
	  .target = TARGET_POOL_OPTIONAL, .options = OPTIONS_TABLE | BIT(VERBOSE), .columns = share_columns, .work = share_list_work,
	  .print = share_list_print },
	{ .name = "userspace", .operands = "POOL/DATASET", .operands_min = 1, .operands_max = 1,
	  .help = "show what users, groups and projects have in a file system",
	  .details = "As of the last commit, with their limits: userquota@NAME and others, see set.",
	  .target = TARGET_DATASET, .open = OPEN_READ, .options = OPTIONS_TABLE | BIT(VERBOSE), .columns = userspace_columns,
	  .work = userspace_work, .print = userspace_print },
	{ .name = "volume read", .operands = "POOL/VOLUME [FILE]", .operands_min = 1, .operands_max = 2,
	  .help = "write the contents of a volume to a file or the standard output",
	  .details = "Without FILE, or where it is \"-\", it is the standard output.\nA FILE that isn't empty, or a device, is only overwritten with --force, and never while it is in use.",
	  .target = TARGET_VOLUME, .open = OPEN_READ, .options = BIT(OFFSET) | BIT(LENGTH) | BIT(FORCE),
	  .check = volume_read_check, .work = volume_read_work, .print = volume_read_print },
	{ .name = "volume write", .operands = "POOL/VOLUME [FILE]", .operands_min = 1, .operands_max = 2,
	  .help = "fill a volume from a file or the standard input",
	  .details = "Without FILE, or where it is \"-\", it is the standard input. What was written is durable when the command succeeds.", .target = TARGET_VOLUME, .open = OPEN_WRITE,
	  .options = BIT(OFFSET) | BIT(LENGTH), .rehearse = volume_write_rehearse, .work = volume_write_work, .print = print_text },
	{ .name = "get", .operands = "POOL[/DATASET] [PROPERTY]...", .operands_min = 1, .operands_max = MANY,
	  .help = "show properties",
	  .details = "SOURCE is local, default, or where the value comes from: what is set in a file system, or in the pool, holds for all\n"
		     "datasets in it in which it isn't set.",
	  .target = TARGET_POOL_OR_DATASET, .open = OPEN_READ, .options = OPTIONS_TABLE | BIT(VERBOSE),
	  .columns = property_columns, .work = get_work, .print = get_print },
	{ .name = "set", .operands = "POOL[/DATASET] PROPERTY=VALUE...", .operands_min = 2, .operands_max = MANY,
	  .help = "set properties",
	  .details = "Limits of users, groups and projects in a file system are properties too: userquota@NAME=SIZE,\n"
		     "userobjquota@NAME=COUNT, and the same with group and project. NAME may be a number; none takes a limit away.",
	  .target = TARGET_POOL_OR_DATASET, .open = OPEN_WRITE, .changes = true,
	  .options = BIT(DRY_RUN), .check = set_check, .work = set_work, .print = print_text },
	{ .name = "inherit", .operands = "POOL[/DATASET] PROPERTY...", .operands_min = 2, .operands_max = MANY,
	  .help = "leave properties to what is above, or to their defaults", .target = TARGET_POOL_OR_DATASET, .open = OPEN_WRITE,
	  .changes = true, .options = BIT(DRY_RUN), .work = inherit_work, .print = print_text },
	{ .name = "history", .operands = "POOL", .operands_min = 1, .operands_max = 1, .help = "show what administrators did",
	  .target = TARGET_POOL, .open = OPEN_READ, .options = OPTIONS_TABLE, .columns = history_columns, .work = history_work,
	  .print = history_print },
	{ .name = "events", .operands = "POOL", .operands_min = 1, .operands_max = 1, .help = "show what happened to the pool",
	  .target = TARGET_POOL, .open = OPEN_READ, .options = OPTIONS_TABLE | BIT(VERBOSE) | BIT(FOLLOW), .columns = event_columns,
	  .work = events_work, .print = events_print, .print_part = events_print_part },
	{ .name = "iostat", .operands = "POOL [SECONDS [COUNT]]", .operands_min = 1, .operands_max = 3,
	  .help = "show what the disks do",
	  .details = "Counts since the import; with SECONDS also what was added every so many seconds, COUNT times\n"
		     "or until it is interrupted.\n"
		     "Below the disks: how many flushes of volumes and syncs of files the intent log served with how many\n"
		     "writes, and how long half of them and 99 % of them took at most, in powers of two.",
	  .target = TARGET_POOL, .open = OPEN_READ, .options = OPTIONS_TABLE | BIT(VERBOSE), .columns = iostat_columns,
	  .check = iostat_check, .work = iostat_work, .print_part = iostat_print_part },
	{ .name = "wait", .operands = "POOL [JOB]...", .operands_min = 1, .operands_max = 6,
	  .help = "wait until jobs are done", .details = "A JOB is scrub, rebuild, resync, verify or trim; all of them if none is named.",
	  .target = TARGET_POOL, .open = OPEN_WRITE, .check = wait_check, .work = wait_work, .finish = wait_finish, .print = print_text },
	{ .name = "debug verify", .operands = "POOL", .operands_min = 1, .operands_max = 1,
	  .help = "check every invariant of the pool",
	  .details = "Reads everything and changes nothing. Exits with 3 when something does not hold.",
	  .target = TARGET_POOL, .open = OPEN_READ, .work = debug_verify_work, .print = print_text },
	{ .name = "help", .operands = "[VERB]", .operands_min = 0, .operands_max = 2, .help = "explain a verb",
	  .details = "Two topics are for scripts: manual (sections of poolctl(8)) and completion (a table).",
	  .work = help_work, .print = help_print },
};
/* clang-format on */
const size_t verb_count = sizeof(verbs) / sizeof(verbs[0]);

const struct verb *verb_find(int argc, char **argv, int *ret_words)
{
	for (size_t i = 0; i < verb_count; i++) {
		const char *name = verbs[i].name, *space = strchr(name, ' ');
		size_t first = space ? (size_t)(space - name) : strlen(name);

		if (argc < 1 || strlen(argv[0]) != first || strncmp(argv[0], name, first) != 0)
			continue;
		if (!space) {
			*ret_words = 1;
			return &verbs[i];
		}
		if (argc >= 2 && strcmp(argv[1], space + 1) == 0) {
			*ret_words = 2;
			return &verbs[i];
		}
	}
	return NULL;
}

int verb_unknown(int argc, char **argv, struct libpool_error *error)
{
	char known[200] = "";

	for (size_t i = 0; i < verb_count; i++) {
		size_t length = strlen(argv[0]);

		if (strncmp(verbs[i].name, argv[0], length) == 0 && verbs[i].name[length] == ' ')
			text_append(known, sizeof(known), "%s%s", known[0] ? ", " : "",
				    verbs[i].name + length + 1);
	}
	if (known[0] && argc > 1)
		return error_set(error, -EINVAL, "there is no verb '%s %s': there are %s", argv[0], argv[1],
				 known);
	if (known[0])
		return error_set(error, -EINVAL, "'%s' needs one more word: %s", argv[0], known);
	return error_set(error, -EINVAL, "there is no verb '%s': see poolctl help", argv[0]);
}

void print_text(struct call *call)
{
	const char *text = document_get_text(call->document, "text");

	if (text[0])
		puts(text);
}

struct table_style call_style(const struct call *call)
{
	return (struct table_style){.raw = options_have(&call->options, OPTION_NO_HEADER),
				    .exact = options_have(&call->options, OPTION_EXACT),
				    .more = options_have(&call->options, OPTION_VERBOSE),
				    .selection = call->options.text[OPTION_COLUMNS]};
}

void print_rows(struct call *call, const char *key)
{
	struct table_style style = call_style(call);

	table_print(call->verb->columns, document_get(call->document, key), &style);
}
