/* Names the call that is under way, and ends the process when it takes so long that it must hang. */
#ifndef TESTS_KILL_WATCHDOG_H
#define TESTS_KILL_WATCHDOG_H

void watchdog_start(unsigned seconds);
/* The text must live on. Calls of several threads: the one that was named last is printed. */
void watchdog_call(const char *what);

/* Runs an expression under its own text. */
#define WATCHED(call) (watchdog_call(#call), (call))

#endif
