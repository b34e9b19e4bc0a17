/* frames.h - the Python frames below a hub: those of the code that called the run.               Level 2: state.
 *
 * A stack begins without a frame, so whoever walked up from a coroutine would stop at the hub, where on stock asyncio the
 * frames go on to the caller of asyncio.run. A hub therefore runs inside two Python functions (_engine/for_core.py), and the
 * f_back of the outer one, whose frame has nothing beneath it, is set to the frame on which the stack sleeps that the loop
 * is run for: the newest nested run's, else the base's; for a foreign loop the frame that called its run_forever. That is a
 * plain strong reference of one frame object to another, as CPython itself has it where a frame has outlived its call: nothing
 * can dangle, and greenlet, which rewrites the inner links of a stack's frames at each switch, has nothing to do with it.
 *
 *      anchor   a stack that sleeps: its frame, and the links of the hubs that lead to it
 *      link     a hub's end
 *
 * What walks CPython's inner links (sys._getframe() with a depth, faulthandler) sees the hub's two frames, and stops there.
 *
 * Invariants
 *   R1  a link leads to an anchor exactly if its frame's f_back is the anchor's frame, and is in the anchor's list
 *   R2  a stack that goes on is no anchor any more: its links were moved to what it led to itself
 *   R3  a hub that is idle or ends leads nowhere
 *   R4  a stack that sleeps leads to the one that waits for its task, else to the run's ground: so a path is as long as runs
 *       are nested in one another, however many sleep
 * Owns     link: bottom, and its f_back; anchor: frame. All strong
 * Thread   the stacks' own
 */
#ifndef AN_FRAMES_H
#define AN_FRAMES_H

#include "state.h"

struct an_link;

typedef struct {
    PyObject *frame;
    const void *awaited; /* the future or task that the stack waits for, compared only */
    struct an_link *links;
} an_anchor;

typedef struct an_link {
    struct an_link *prev, *next;
    an_anchor *to;
    PyObject *bottom;
} an_link;

/* The current stack is about to sleep. Never fails: without a frame it anchors nothing. May run Python (finalizers) */
void an_anchor_set(an_anchor *a);
/* It goes on, or is no more: what leads to it leads to INSTEAD (may be NULL) from now on. Keeps the current exception. */
void an_anchor_drop(an_anchor *a, an_anchor *instead);

int an_anchor_check(an_anchor *a); /* 1 R1 holds for it, 0 not */

/* For a hub at its beginning | NULL without exception: its frames lead nowhere. May run Python (finalizers) */
an_link *an_link_new(void);
void an_link_free(an_link *link);               /* LINK may be NULL */
void an_link_set(an_link *link, an_anchor *to); /* LINK and TO may be NULL. Keeps the current exception. */

#endif
