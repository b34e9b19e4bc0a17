/* begin.h - a hub begins inside of two Python frames.                                            Level 6: frames, exits.
 *
 * A hub's fiber runs hub_start(), which calls hub_main() (hub.c) through two Python functions (_engine/for_core.py), so that
 * there are frames for others to see, and for frames.h to lead on. What happens at their edges stays here: a signal's
 * handler may raise before hub_main() begins, and hub_main() leaves them by an error, since a return would look at signals
 * and garbage on a stack that is nobody's any more.
 *
 * Thread   the hub's
 */
#ifndef AN_BEGIN_H
#define AN_BEGIN_H

#include "block.h"

int an_begin_init(PyObject *module); /* 0 | -1+exc; makes an_st->hub_start */

#endif
