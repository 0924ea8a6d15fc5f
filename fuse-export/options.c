/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuse-export/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "fuse-export/mount.h"

/* Of the mount itself: what libfuse passes to the kernel, and their opposites, which are what holds without them. */
static const struct {
	const char *name;
	unsigned long flag;
	bool is_default;
} kernel_options[] = {
	{"nosuid", MS_NOSUID, false}, {"suid", MS_NOSUID, true},	 {"nodev", MS_NODEV, false},	       {"dev", MS_NODEV, true},
	{"noexec", MS_NOEXEC, false}, {"exec", MS_NOEXEC, true},	 {"sync", MS_SYNCHRONOUS, false},      {"async", MS_SYNCHRONOUS, true},
	{"noatime", MS_NOATIME, false}, {"atime", MS_NOATIME, true},	 {"nodiratime", MS_NODIRATIME, false}, {"diratime", MS_NODIRATIME, true},
};

/* For mount(8), systemd, and the list of mounts, which may hand back what they read there. */
static const char *const foreign_options[] = {
	"defaults", "auto",  "noauto",	  "nofail",	 "_netdev",   "user",	   "nouser",   "users", "owner", "group",
	"relatime", "fsname=", "subtype=", "default_permissions", "user_id=", "group_id=", "rootmode=", "fd=", "max_read=", "comment=", "x-", "X-",
};

/* Names that end in '=' or '-' begin an option. */
static bool is_foreign(const char *option)
{
	for (size_t i = 0; i < sizeof(foreign_options) / sizeof(foreign_options[0]); i++) {
		const char *name = foreign_options[i];
		size_t length = strlen(name);
		bool begins = name[length - 1] == '=' || name[length - 1] == '-';

		if (begins ? strncmp(option, name, length) == 0 : strcmp(option, name) == 0)
			return true;
	}
	return false;
}

static bool take_own(struct mount_options *options, const char *option)
{
	const struct {
		const char *name;
		bool *flag, value;
	} own[] = {
		{"ro", &options->read_only, true},	    {"rw", &options->read_only, false},
		{"allow_other", &options->allow_other, true}, {"noallow_other", &options->allow_other, false},
		{"nonempty", &options->nonempty, true},	    {"remount", &options->remount, true},
		{"volumes", &options->volumes, true},	    {"nochildren", &options->nochildren, true},
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		if (strcmp(option, own[i].name) != 0)
			continue;
		*own[i].flag = own[i].value;
		if (own[i].flag == &options->read_only)
			options->named |= MS_RDONLY;
		return true;
	}
	return false;
}

/* 1 if it is one of these, 0 if not, or a negative code. */
static int take_kernel(struct mount_options *options, const char *option, struct libpool_error *error)
{
	for (size_t i = 0; i < sizeof(kernel_options) / sizeof(kernel_options[0]); i++) {
		size_t length = strlen(options->extra);

		if (strcmp(option, kernel_options[i].name) != 0)
			continue;
		options->named |= kernel_options[i].flag;
		if (kernel_options[i].is_default)
			options->flags &= ~kernel_options[i].flag;
		else
			options->flags |= kernel_options[i].flag;
		/* libfuse knows no such words as "atime". */
		if (kernel_options[i].is_default)
			return 1;
		if (length + strlen(option) + 2 > sizeof(options->extra))
			return mount_fail(error, -E2BIG, "there are too many mount options: no room for '%s'", option);
		snprintf(options->extra + length, sizeof(options->extra) - length, ",%s", option);
		return 1;
	}
	return 0;
}

void options_init(struct mount_options *options)
{
	*options = (struct mount_options){.allow_other = geteuid() == 0, .privileged = geteuid() == 0};
}

int options_take(struct mount_options *options, const char *text, struct libpool_error *error)
{
	char *copy = strdup(text ? text : ""), *rest = NULL;
	int code = copy ? 0 : -ENOMEM;

	for (char *option = copy ? strtok_r(copy, ",", &rest) : NULL; option && code >= 0; option = strtok_r(NULL, ",", &rest)) {
		code = take_own(options, option) ? 1 : take_kernel(options, option, error);
		if (code == 0 && !is_foreign(option))
			code = mount_fail(error, -EINVAL, "there is no mount option '%.60s': see libpool-fuse(8)", option);
	}
	free(copy);
	return code < 0 ? code : 0;
}
