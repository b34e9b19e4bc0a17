#include "placing.h"
#include "batch.h"
#include "fiber.h"
#include "job.h"

#define DEEPER_FIRST (32 * 1024) /* twice of what libuv has there while it polls */
#define DEEPER_MAX (48 * 1024)   /* than where the loop called back first: a thread's stack may be small */
#define MARGIN 2048              /* more than lies between the frame of a call back and where its stack leaves for a hub */

void
an_placing_note(an_run *run, uintptr_t here)
{
    if (AN_UNLIKELY(run->deepest == 0)) {
        run->highest = here;
        run->deepest = here - DEEPER_FIRST;
    }
    else if (AN_UNLIKELY(here - MARGIN < run->deepest)) {
        uintptr_t end = run->highest - DEEPER_MAX;
        run->deepest = here - MARGIN > end ? here - MARGIN : end;
    }
}

/* Have HUB, a new one, begin below WHERE. MAY SWITCH */
static AN_NOINLINE int
begin_below(an_thread *th, PyObject *self, PyObject *hub, uintptr_t where)
{
    volatile char room[1024];
    room[0] = 0;
    uintptr_t here = AN_STACK_HERE();
    int rc;
    if (here > where && here - where <= 2 * DEEPER_MAX) {
        rc = begin_below(th, self, hub, where);
    }
    else {
        an_fiber_set_begins(hub, here);
        rc = an_hub_switch(th, self, hub, NULL);
    }
    return rc + room[0]; /* its room is there until then */
}

int
an_placing_run(an_thread *th, PyObject *self)
{
    int rc = 0;
    const uintptr_t here = AN_STACK_HERE() - MARGIN;
    while (rc == 0) {
        (void)an_fiber_reap(); /* F8 */
        if (!an_batch_job_is_left(th)) {
            break; /* it is, if a tracer of the switch nested: the hub that was to take it sleeps */
        }
        uintptr_t where = th->run == NULL || th->run->deepest > here ? here : th->run->deepest;
        uintptr_t high = where + AN_BEGINS_NEAR < here ? where + AN_BEGINS_NEAR : here;
        PyObject *hub = an_hub_idle(th, where - AN_BEGINS_NEAR, high);
        if (AN_LIKELY(hub != NULL)) {
            rc = an_hub_switch(th, self, hub, NULL);
        }
        else if (AN_UNLIKELY(an_hub_make_room(th, self))) {
            continue;
        }
        else {
            hub = an_fiber_new(&th->fibers, an_st->hub_start, self, self);
            rc = hub == NULL ? -1 : begin_below(th, self, hub, where);
        }
        Py_XDECREF(hub);
    }
    an_job_drop(th);
    return rc;
}
