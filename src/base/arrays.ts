/**
 * Small arrays on the way of every write, emptied without leaving compiled code: `splice` and a new `length` do, and take ten
 * times as long for one element. For the same reason the last element is asked for by `at(-1)`: of an empty array
 * `list[list.length - 1]` looks a property "-1" up.
 */

/** Empties an array, which keeps its memory for what comes next. */
export function empty(list: unknown[]): void {
  while (list.length > 0) list.pop();
}

/** Drops so many elements from the front. */
export function dropFirst(list: unknown[], count: number): void {
  if (count === list.length) empty(list);
  else if (count === 1) list.shift();
  else if (count > 0) list.splice(0, count);
}
