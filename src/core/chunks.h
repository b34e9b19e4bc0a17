/* chunks.h - memory for the Python frames of fibers.                                             Level 1: compat.
 *
 * Since 3.11 CPython keeps the frames of Python functions in chunks of 16 KiB, one at least for each fiber, and asks the
 * arena allocator for each: a mmap and a munmap per suspended run, which cost more than all the rest of a suspension. An
 * allocator in front of the one in place serves these chunks out of blocks of 1 MiB; everything else, and what it did not
 * give out itself, goes to the one before.
 *
 * Invariants
 *   C1  a block is in the list of those with room exactly if it has a free chunk
 *   C2  no more than AN_CHUNKS_SPARE blocks stay mapped without a chunk in use
 * Owns     its blocks. Chunks belong to who asked for them. The allocator stays in place for the life of the process:
 *          chunks may outlive unapply()
 * Thread   any; subinterpreters call it without our GIL, so it has a lock of its own
 */
#ifndef AN_CHUNKS_H
#define AN_CHUNKS_H

#include "compat.h"

/* One more fiber is made beside so many. Puts the allocator in place, once, if they are more than a process needs that runs
 * and nests a little: idle hubs are kept, so those few are made once for each top-level run. Nothing happens where CPython or
 * the system has no use for it. */
void an_chunks_wanted(Py_ssize_t fibers);

/* blocks mapped now, for tests */
Py_ssize_t an_chunks_blocks(void);
int an_chunks_check(void); /* 1 C1 and C2 hold, 0 not */

#endif
