/* bound.h - a method that is bound with the collector off.                                       Level 1: state.
 *
 * asyncio's futures look loop.call_soon up once for each of their callbacks, out of a list which they do not hold on to.
 * Before 3.12 garbage may be collected as the bound method is made. What a finalizer nests there may have such a future drop
 * its callbacks, and CPython would call what is freed. So the class has this in place of CPython's own descriptor, and
 * whoever looks at it sees that one. Since 3.12 it is that one.
 *
 * Owns     the descriptor that it stands for: strong
 * Thread   any with the GIL
 */
#ifndef AN_BOUND_H
#define AN_BOUND_H

#include "state.h"

int an_bound_init(void);

/* DEF as a method of CLS. new ref | NULL+exc */
PyObject *an_bound_method(PyTypeObject *cls, PyMethodDef *def);

#endif
