/* SPDX-License-Identifier: BSD-2-Clause */
/* Telling servers that run of what has changed. Without a shell: names come from whoever typed them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/share_files.h"

/* As Debian and others start it; and what it is called there. */
#define GANESHA_PID  "/run/ganesha/ganesha.pid"
#define GANESHA_NAME "ganesha.nfsd"

static bool is_ganesha(long pid)
{
	char path[64], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	bool is = fgets(name, sizeof(name), file) && strncmp(name, GANESHA_NAME, strlen(GANESHA_NAME)) == 0;
	fclose(file);
	return is;
}

static int reload_ganesha(void)
{
	FILE *file = fopen(GANESHA_PID, "re");
	long pid = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%ld", &pid) != 1)
		pid = 0;
	fclose(file);
	if (pid <= 1 || !is_ganesha(pid))
		return 0;
	return kill((pid_t)pid, SIGHUP) == 0 ? 1 : -errno;
}

/* Its exit code, or a negative code: it can't be started. */
static int run(const char *const *arguments)
{
	int status = 0;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

		for (int i = 0; i <= 2; i++)
			dup2(nothing, i);
		execvp(arguments[0], (char *const *)(uintptr_t)arguments);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) != 127 ? WEXITSTATUS(status) : -ENOENT;
}

int share_server_reload(enum share_server server)
{
	const char *const exports[] = {"exportfs", "-ra", NULL}, *const samba[] = {"smbcontrol", "smbd", "reload-config", NULL};

	if (server == SHARE_GANESHA)
		return reload_ganesha();
	return run(server == SHARE_KERNEL ? exports : samba) == 0 ? 1 : 0;
}

void share_server_disconnect(const char *name)
{
	const char *const arguments[] = {"smbcontrol", "smbd", "close-share", name, NULL};

	(void)run(arguments);
}
