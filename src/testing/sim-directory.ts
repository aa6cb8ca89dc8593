/**
 * One directory of a simulated disk: the names programs see, the names on the medium, and the changes in between.
 *
 * A removed directory stays in the list of its parent's changes until that is synced: a power loss may bring it back, with
 * whatever of its own changes was not on the medium undone.
 */
import { nextBelow, type PrngState } from '../base/prng.ts';
import type { SimFile } from './sim-disk-file.ts';

/** A change of names that is not on the medium yet. */
export type DirectoryChange =
  | { readonly kind: 'link'; readonly name: string; readonly file: SimFile }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string; readonly file: SimFile }
  | { readonly kind: 'unlink'; readonly name: string }
  | RemovedDirectory;

/** An empty directory was removed. */
export interface RemovedDirectory {
  readonly kind: 'removeDirectory';
  readonly name: string;
  readonly directory: SimDirectory;
}

/** A directory. */
export interface SimDirectory {
  readonly names: Map<string, SimFile>;
  readonly syncedNames: Map<string, SimFile>;
  readonly changes: DirectoryChange[];
  readonly subdirectories: Set<string>;
}

/** A directory with nothing in it. */
export function emptyDirectory(): SimDirectory {
  return { names: new Map(), syncedNames: new Map(), changes: [], subdirectories: new Set() };
}

/** A path without what does not count. */
export function normalizePath(path: string): string {
  return path
    .split('/')
    .filter((name) => name !== '' && name !== '.')
    .join('/');
}

/** Where a path stands and its name there. */
export function splitPath(path: string): { readonly parent: string; readonly name: string } {
  const own = normalizePath(path);
  const slash = own.lastIndexOf('/');
  return slash < 0
    ? { parent: '', name: own }
    : { parent: own.slice(0, slash), name: own.slice(slash + 1) };
}

/** A directory's path. */
export function pathWithin(parent: string, name: string): string {
  return parent === '' ? name : `${parent}/${name}`;
}

/** A directory, and those removed from it that a power loss may bring back, with their paths. */
export function* withRemoved(
  path: string,
  directory: SimDirectory,
): Iterable<readonly [string, SimDirectory]> {
  yield [path, directory];
  for (const change of directory.changes)
    if (change.kind === 'removeDirectory')
      yield* withRemoved(pathWithin(path, change.name), change.directory);
}

/** Every file that a directory knows. */
export function filesOf({ names, syncedNames, changes }: SimDirectory): SimFile[] {
  const changed = changes.flatMap((change) => ('file' in change ? [change.file] : []));
  return [...names.values(), ...syncedNames.values(), ...changed];
}

/** Does to the names what a change does. */
export function applyChange(names: Map<string, SimFile>, change: DirectoryChange): void {
  switch (change.kind) {
    case 'link':
      names.set(change.name, change.file);
      return;
    case 'rename':
      // Without the rename before it the file still has an older name; a file has one name at a time.
      for (const [name, file] of names) if (file === change.file) names.delete(name);
      names.delete(change.from);
      names.set(change.to, change.file);
      return;
    case 'unlink':
      names.delete(change.name);
      return;
    case 'removeDirectory':
      return;
  }
}

/** A power loss that leaves these changes, by their positions. The directories that are back, which are not yet part of it. */
export function keepChanges(
  directory: SimDirectory,
  survives: (position: number) => boolean,
): RemovedDirectory[] {
  const { changes, names, syncedNames } = directory;
  const back: RemovedDirectory[] = [];
  changes.forEach((change, position) => {
    if (survives(position)) applyChange(syncedNames, change);
    else if (change.kind === 'removeDirectory') back.push(change);
  });
  changes.length = 0;
  names.clear();
  for (const [name, file] of syncedNames) names.set(name, file);
  return back.filter(({ name }) => !names.has(name));
}

/** A power loss that leaves any subset of the changes, or any prefix. What is back, as {@link keepChanges}. */
export function loseChanges(directory: SimDirectory, random: PrngState): RemovedDirectory[] {
  if (directory.changes.length === 0) return [];
  const isPrefix = nextBelow(random, 2) === 0;
  const prefixLength = nextBelow(random, directory.changes.length + 1);
  return keepChanges(directory, (position) =>
    isPrefix ? position < prefixLength : nextBelow(random, 2) === 0,
  );
}

/** A copy with the twins of its files; with `syncedOnly` of what surely survives a power loss. */
export function cloneDirectory(
  directory: SimDirectory,
  syncedOnly: boolean,
  twinOf: (file: SimFile) => SimFile,
): SimDirectory {
  const twins = (names: ReadonlyMap<string, SimFile>): Map<string, SimFile> =>
    new Map([...names].map(([name, file]) => [name, twinOf(file)]));
  const twinOfChange = (change: DirectoryChange): DirectoryChange => {
    if (change.kind === 'unlink') return change;
    if (change.kind !== 'removeDirectory') return { ...change, file: twinOf(change.file) };
    return { ...change, directory: cloneDirectory(change.directory, syncedOnly, twinOf) };
  };
  const { names, syncedNames, changes, subdirectories } = directory;
  const removed = changes.flatMap((change) =>
    change.kind === 'removeDirectory' ? [change.name] : [],
  );
  return {
    names: twins(syncedOnly ? syncedNames : names),
    syncedNames: twins(syncedNames),
    changes: syncedOnly ? [] : changes.map(twinOfChange),
    subdirectories: new Set([...subdirectories, ...(syncedOnly ? removed : [])]),
  };
}
