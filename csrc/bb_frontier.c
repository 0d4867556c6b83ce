#include "bb_frontier.h"

size_t bb_mark_written(const int32_t *at, const int32_t *consumers, int32_t value, int32_t *need, int32_t *ready) {
    size_t appended = 0;
    for (int32_t i = at[value]; i < at[value + 1]; i++) {
        const int32_t op = consumers[i];
        if (need[op] <= 0) {
            continue; /* one of its values was enough, and an earlier one has made it ready */
        }
        need[op] -= 1;
        if (need[op] == 0) {
            need[op] = -1 - value;
            ready[appended++] = op;
        }
    }
    return appended;
}

int bb_mark_read(int32_t *readers, int32_t value) {
    readers[value] -= 1;
    return readers[value] == 0;
}
