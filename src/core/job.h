/* job.h - a foreign loop's callback on its way from the loop's own stack to the hub that runs it.   Level 4: thread, task.
 *
 * A loop that is not ours calls back on its own stack, which must never sleep. So the callback is put here, and a hub takes
 * it. Nothing of the loop's stack is used by the hub: the two may stand at the same addresses.
 *
 * Invariants
 *   J1  there is a job only between an_job_put() and the switch to the hub that takes it at once. If that hub, or what is
 *       ready before, runs another loop of this kind first, the job is set aside until that one's callback has returned
 *   J2  number is that of the job for which the loop's own stack waits, if it does; only that one's result is kept
 *   J3  a job is a callback or a batch, not both; a batch stays there while hubs take its handles one by one
 *   J4  error and result are set only between the end of a hub's handle and the return of the loop's own stack to the loop
 * Owns     all its members: strong
 * Thread   its own
 */
#ifndef AN_JOB_H
#define AN_JOB_H

#include "thread.h"

/* calls of wrappers and batches, and what was made of them: whether an iteration did anything */
extern long long an_job_calls;

/* 0 | -1+exc. CONTEXT (may be NULL) is entered around the call; KWNAMES, and their values at the end of ARGS, are as in a
 * vectorcall */
int an_job_put(an_thread *th, PyObject *callback, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
               PyObject *context);
void an_job_drop(an_thread *th);
void an_job_set_aside(an_thread *th, struct an_job *aside); /* ASIDE owns it meanwhile */
void an_job_put_back(an_thread *th, struct an_job *aside);

/* Take the job and run it on this stack. 0 | -1+exc. MAY SWITCH */
int an_job_run(an_thread *th);
/* The current exception is raised to the loop when its own stack goes on, unless there is an earlier one. */
void an_job_fail(an_thread *th);

#endif
