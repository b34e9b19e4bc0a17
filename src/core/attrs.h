/* attrs.h - the attributes of BaseEventLoop that live in the record while aionest is applied.     Level 4: loop.
 *
 * Data descriptors take precedence over the instance's __dict__, so asyncio's own assignments (self._closed = True)
 * arrive here. A loop's value from before apply() is taken over when its record is made (loop.c).
 *
 * Thread   any with the GIL
 */
#ifndef AN_ATTRS_H
#define AN_ATTRS_H

#include "loop.h"

extern PyGetSetDef an_loop_attrs[];    /* for BaseEventLoop */
extern PyMethodDef an_mixin_methods[]; /* for asyncio.mixins._LoopBoundMixin: which loop an object is bound to */

#endif
