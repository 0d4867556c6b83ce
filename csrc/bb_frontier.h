/* Index arithmetic of the engine's frontier: which ops become ready when a value is written.
 *
 * Tables are flat int32 arrays. A function's consumers are in CSR form: the ops that wait for value v are
 * consumers[at[v]] .. consumers[at[v + 1] - 1], each op once for each distinct value that it waits for.
 *
 * Nothing here allocates, fails or touches Python; callers pass indices that they have checked.
 */
#ifndef BB_FRONTIER_H
#define BB_FRONTIER_H

#include <stddef.h>
#include <stdint.h>

/* Record that `value` has been written: count down what each of its consumers still waits for, and append those that
 * wait for nothing more to `ready`, in order of their index. `need` of those becomes -1 - value: which one it was that
 * made them ready. `ready` has room for every op of the function, since an op becomes ready once in a Frame's life.
 * Returns how many were appended. */
size_t bb_mark_written(const int32_t *at, const int32_t *consumers, int32_t value, int32_t *need, int32_t *ready);

/* Record that one of a value's readers has run. Returns 1 when it was the last. */
int bb_mark_read(int32_t *readers, int32_t value);

#endif
