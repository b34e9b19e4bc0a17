#include "chunks.h"

#if AN_PY311 && AN_LINUX && UINTPTR_MAX > 0xffffffffu && !AN_FREE_THREADED

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define AN_CHUNK ((size_t)16 * 1024)
#define AN_BLOCK ((size_t)1 << 20)
#define AN_CHUNKS_PER_BLOCK (AN_BLOCK / AN_CHUNK)
#define AN_CHUNKS_SPARE 2
#define AN_CHUNKS_FROM 10   /* fibers at once: more than are kept idle beside the active one, so they come and go */
#define AN_CHUNKS_AFTER 100 /* fibers in all: each top-level run has a new one */

typedef struct block {
    struct block *prev, *next; /* in `room` */
    char *base;
    void *free; /* chunks given back, linked through their first word */
    size_t used, fresh;
} block;

/* Which block is at an address: bits 20 to 35 lead to the entry, 36 to 47 to the table, which is made when needed. */
#define AN_TABLE ((size_t)1 << 16)
static block **tables[4096];

static PyObjectArenaAllocator before;
static block *room;
static size_t n_blocks, n_spare;
static atomic_flag busy = ATOMIC_FLAG_INIT;
static int installed = 0;

static inline void
lock(void)
{
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire)) {
    }
}

static inline void
unlock(void)
{
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

/* NULL: the address cannot be one of ours, or (MAKE) there is no memory */
static block **
entry(const void *p, int make)
{
    uintptr_t a = (uintptr_t)p;
    if (a >> 48) {
        return NULL;
    }
    block ***table = &tables[a >> 36];
    if (*table == NULL && (!make || (*table = calloc(AN_TABLE, sizeof(block *))) == NULL)) {
        return NULL;
    }
    return &(*table)[(a >> 20) & (AN_TABLE - 1)];
}

static void
link_block(block *b)
{
    b->prev = NULL;
    b->next = room;
    if (room != NULL) {
        room->prev = b;
    }
    room = b;
}

static void
unlink_block(block *b)
{
    if (b->prev != NULL) {
        b->prev->next = b->next;
    }
    else {
        room = b->next;
    }
    if (b->next != NULL) {
        b->next->prev = b->prev;
    }
    b->prev = b->next = NULL;
}

/* an aligned piece of memory, or NULL */
static char *
map_block(void)
{
    char *p = mmap(NULL, 2 * AN_BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    char *base = (char *)(((uintptr_t)p + AN_BLOCK - 1) & ~(uintptr_t)(AN_BLOCK - 1));
    if (base > p) {
        munmap(p, (size_t)(base - p));
    }
    if (p + AN_BLOCK > base) {
        munmap(base + AN_BLOCK, (size_t)(p + AN_BLOCK - base));
    }
    /* a fiber touches a page or two of its chunk: huge pages would make the rest real as well */
    (void)madvise(base, AN_BLOCK, MADV_NOHUGEPAGE);
    return base;
}

static block *
new_block(void)
{
    block *b = calloc(1, sizeof(block));
    if (b == NULL || (b->base = map_block()) == NULL) {
        free(b);
        return NULL;
    }
    block **e = entry(b->base, 1);
    if (e == NULL) {
        munmap(b->base, AN_BLOCK);
        free(b);
        return NULL;
    }
    *e = b;
    n_blocks++;
    n_spare++;
    link_block(b);
    return b;
}

static void *
chunk_alloc(void *ctx, size_t size)
{
    if (size != AN_CHUNK) {
        return before.alloc(before.ctx, size);
    }
    lock();
    block *b = room != NULL ? room : new_block();
    if (b == NULL) {
        unlock();
        return before.alloc(before.ctx, size);
    }
    void *p = b->free;
    if (p != NULL) {
        b->free = *(void **)p;
    }
    else {
        p = b->base + AN_CHUNK * b->fresh++;
    }
    n_spare -= b->used == 0;
    if (++b->used == AN_CHUNKS_PER_BLOCK) {
        unlink_block(b);
    }
    unlock();
    return p;
}

static void
chunk_free(void *ctx, void *p, size_t size)
{
    if (size != AN_CHUNK) {
        before.free(before.ctx, p, size);
        return;
    }
    lock();
    block **e = entry(p, 0), *b = e == NULL ? NULL : *e, *over = NULL;
    if (b == NULL) {
        unlock();
        before.free(before.ctx, p, size);
        return;
    }
    *(void **)p = b->free;
    b->free = p;
    if (b->used-- == AN_CHUNKS_PER_BLOCK) {
        link_block(b);
    }
    if (b->used == 0 && ++n_spare > AN_CHUNKS_SPARE) {
        unlink_block(b);
        *e = NULL;
        n_blocks--;
        n_spare--;
        over = b;
    }
    unlock();
    if (over != NULL) {
        munmap(over->base, AN_BLOCK);
        free(over);
    }
}

void
an_chunks_wanted(Py_ssize_t fibers)
{
    static size_t made;
    if (installed || (++made < AN_CHUNKS_AFTER && fibers < AN_CHUNKS_FROM)) {
        return;
    }
    installed = 1;
    PyObject_GetArenaAllocator(&before);
    PyObjectArenaAllocator ours = {NULL, chunk_alloc, chunk_free};
    PyObject_SetArenaAllocator(&ours);
}

Py_ssize_t
an_chunks_blocks(void)
{
    return (Py_ssize_t)n_blocks;
}

int
an_chunks_check(void)
{
    size_t spare = 0;
    int right = 1;
    lock();
    for (block *b = room, *prev = NULL; b != NULL; prev = b, b = b->next) {
        block **e = entry(b->base, 0);
        right &= b->prev == prev && b->used < AN_CHUNKS_PER_BLOCK && b->fresh <= AN_CHUNKS_PER_BLOCK && e != NULL && *e == b;
        spare += b->used == 0;
    }
    right &= spare == n_spare && n_spare <= AN_CHUNKS_SPARE;
    unlock();
    return right;
}

#else

void
an_chunks_wanted(Py_ssize_t fibers)
{
}

Py_ssize_t
an_chunks_blocks(void)
{
    return 0;
}

int
an_chunks_check(void)
{
    return 1;
}

#endif
