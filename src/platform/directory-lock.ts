/**
 * One process per directory (KER-13): the file `lock` names its holder by pid, start time and boot of the machine.
 *
 * Taking it is a `link` of a finished file, which fails when the name exists; so a lock is never seen half written. A lock
 * whose holder is dead (no such process, another start time, another boot) is moved aside under a name of our own, checked
 * again there, and only then removed: of two starters that see the same dead holder one moves it, the other tries anew.
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ClustorError } from '../base/errors.ts';
import type { DirectoryLock } from '../ports/file-system.ts';

interface Holder {
  readonly pid: number;
  /** Clock ticks from the machine's boot to the start of the process; tells apart processes that got the same pid. */
  readonly startTime: string;
  readonly bootId: string;
  /** Tells apart two locks of the same process. */
  readonly nonce: string;
}

const attemptsMax = 20;

/** Takes the lock of a directory, created if missing. @throws ClustorError `CLUSTOR_DATA_DIRECTORY_LOCKED` that names the holder. */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const path = join(directory, 'lock');
  await mkdir(directory, { recursive: true });
  const own: Holder = {
    pid: process.pid,
    startTime: (await startTimeOf(process.pid)) ?? '',
    bootId: await bootId(),
    nonce: randomBytes(8).toString('hex'),
  };
  const temporary = join(directory, `lock.${own.pid}.${own.nonce}`);
  await writeFile(temporary, JSON.stringify(own));
  try {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      if (await tryLink(temporary, path)) return { release: () => release(path, own) };
      const holder = await readHolder(path);
      if (holder !== undefined && (await isAlive(holder))) throw heldBy(directory, holder);
      if (holder !== undefined) await removeStale(path, holder);
    }
    throw new ClustorError(
      'CLUSTOR_DATA_DIRECTORY_LOCKED',
      `the lock of ${directory} changes hands all the time; stop the other starters`,
    );
  } finally {
    await unlink(temporary);
  }
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Moves a dead holder's lock aside and removes it, unless it was another's by then. */
async function removeStale(path: string, dead: Holder): Promise<void> {
  const aside = `${path}.stale.${process.pid}.${randomBytes(8).toString('hex')}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  const moved = await readHolder(aside);
  // Someone took the lock between our look and our move: give it back.
  if (moved !== undefined && moved.nonce !== dead.nonce) await tryLink(aside, path);
  await unlink(aside);
}

async function readHolder(path: string): Promise<Holder | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const parsed = JSON.parse(text) as Partial<Holder>;
    return {
      pid: parsed.pid ?? 0,
      startTime: parsed.startTime ?? '',
      bootId: parsed.bootId ?? '',
      nonce: parsed.nonce ?? '',
    };
  } catch {
    // Damaged by a crash of the machine; its holder is gone with it.
    return { pid: 0, startTime: '', bootId: '', nonce: '' };
  }
}

async function isAlive(holder: Holder): Promise<boolean> {
  if (holder.pid <= 0 || holder.bootId !== (await bootId())) return false;
  return (await startTimeOf(holder.pid)) === holder.startTime;
}

async function release(path: string, own: Holder): Promise<void> {
  const holder = await readHolder(path);
  if (holder?.nonce === own.nonce) await unlink(path);
}

function heldBy(directory: string, holder: Holder): ClustorError {
  return new ClustorError(
    'CLUSTOR_DATA_DIRECTORY_LOCKED',
    `${directory} is in use by process ${holder.pid}`,
    { details: { pid: holder.pid } },
  );
}

/** Field 22 of `/proc/<pid>/stat`; the name before it may contain anything, so counting starts behind its last bracket. A dead process that nobody has collected yet counts as gone. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

let bootIdKnown: Promise<string> | undefined;

function bootId(): Promise<string> {
  bootIdKnown ??= readFile('/proc/sys/kernel/random/boot_id', 'utf8').then((text) => text.trim());
  return bootIdKnown;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
