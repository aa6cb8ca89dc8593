/**
 * What the background scrub remembers over restarts, in `wal/scrub.json`: when it read what, and whether an operator made it
 * pause. A file that is lost or damaged makes everything count as never read, and ends a pause.
 */
import { utf8Decode, utf8Encode } from '../base/bytes.ts';
import type { FileSystem } from '../ports/file-system.ts';

/** What is remembered. */
export interface ScrubState {
  /** When each unit was last read, milliseconds of the wall clock. */
  readonly verifiedMs: ReadonlyMap<string, number>;
  /** Since when it pauses. */
  readonly pausedSinceMs: number | undefined;
}

const stateFileName = 'scrub.json';
const pausedName = 'pausedSinceMs';

/** Reads it. */
export async function readScrubState(fileSystem: FileSystem, folder: string): Promise<ScrubState> {
  const nothing: ScrubState = { verifiedMs: new Map(), pausedSinceMs: undefined };
  const bytes = await fileSystem.readFile(`${folder}/${stateFileName}`);
  if (bytes === undefined) return nothing;
  try {
    const rows = Object.entries((JSON.parse(utf8Decode(bytes)) ?? {}) as object).filter(
      (row): row is [string, number] => typeof row[1] === 'number',
    );
    return {
      verifiedMs: new Map(rows.filter(([name]) => name !== pausedName)),
      pausedSinceMs: rows.find(([name]) => name === pausedName)?.[1],
    };
  } catch {
    // Torn or not ours.
    return nothing;
  }
}

/** Replaces it durably. */
export function writeScrubState(
  fileSystem: FileSystem,
  folder: string,
  { verifiedMs, pausedSinceMs }: ScrubState,
): Promise<void> {
  const paused = pausedSinceMs === undefined ? {} : { [pausedName]: pausedSinceMs };
  const text = JSON.stringify({ ...Object.fromEntries(verifiedMs), ...paused });
  return fileSystem.replaceFile(`${folder}/${stateFileName}`, utf8Encode(`${text}\n`));
}
