/* imports.h - notice that other modules have been imported.                                      Level 1: state.
 *
 * While something is wanted (_engine/imports.py), the number of loaded modules is compared with what it was (an import that
 * leaves it as it was, one module in and one out, is not noticed), and sys.meta_path must begin with our finder.
 *
 * Thread   any, with the GIL. Looking runs Python, and does not switch.
 */
#ifndef AN_IMPORTS_H
#define AN_IMPORTS_H

#include "state.h"

int an_imports_look(void); /* 0 | -1+KeyboardInterrupt or SystemExit, of a signal handler */

/* For each turn of a loop and each nested run: look if there is reason to. As above; runs Python */
static inline int
an_imports_check(void)
{
    an_state *st = an_st;
    if (AN_UNLIKELY(st->imports_look != NULL) &&
        (PyDict_GET_SIZE(st->modules) != st->n_modules || PyList_GET_SIZE(st->meta_path) == 0 ||
         PyList_GET_ITEM(st->meta_path, 0) != st->imports_finder)) {
        return an_imports_look();
    }
    return 0;
}

PyObject *an_py_watch_modules(PyObject *module, PyObject *args); /* (look, finder, sys.meta_path), or () for no more */

#endif
