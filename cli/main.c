/* SPDX-License-Identifier: BSD-2-Clause */
/* poolctl: the command line of libpool. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/mount_helper.h"
#include "cli/poolctl.h"

int main(int argc, char **argv)
{
	int code;

	setlocale(LC_CTYPE, ""); /* tables need the width of characters; numbers keep their points */
	code = interrupt_init();
	if (code < 0) {
		fprintf(stderr, "poolctl: can't watch for signals: %s\n", strerror(-code));
		return 1;
	}
	return mount_helper_is(argv[0]) ? mount_helper_run(argc, argv) : poolctl_run(argc, argv);
}
