/* stream.h - the plain cases of a socket transport's read and write, without Python frames.       Level 4: loop.
 *
 * _SelectorSocketTransport._read_ready and .write for a real socket, a Protocol (not a BufferedProtocol) and an empty
 * write buffer. Everything else - TLS and its upgrade, partial writes, a closing transport, doubles in tests - goes to
 * asyncio's own method. The sockets are non-blocking, so the GIL is kept.
 *
 * Thread   the loop's
 */
#ifndef AN_STREAM_H
#define AN_STREAM_H

#include "loop.h"

extern PyMethodDef an_stream_methods[]; /* for _SelectorSocketTransport */

#endif
