/**
 * One process per directory (KER-13): the file `lock` names its holder by pid, start time and boot of the machine.
 *
 * Taking a free lock is a `link` of a finished file, which fails when the name exists; so a lock is never seen half written.
 *
 * A lock whose holder is dead (no such process, another start time, another boot) is never moved or removed by those who
 * merely see that, for what was read may have changed hands by then. Instead a dead holder has one successor: whoever links
 * its own file to `lock.after.<nonce of the dead>` first. A successor that died as well has a successor of its own; so the
 * holder is the last one of this list, and only the list's last one, once dead, can be succeeded. The new holder renames its
 * file over `lock` and then removes the list. Who followed the list meanwhile may link to a name that has just been removed,
 * therefore a claim counts only when `lock` still reads the same behind it: the list goes after `lock` was replaced.
 *
 * Taking a lock needs a block of the disk, also on one that is full: the holder of a data directory's keeps a small file for the next one, which
 * anybody who starts may remove, for it holds nothing.
 */
import { randomBytes } from 'node:crypto';
import {
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { ClustorError, messageOf } from '../base/errors.ts';
import type { DirectoryLock } from '../ports/file-system.ts';

interface Holder {
  readonly pid: number;
  /** Clock ticks from the machine's boot to the start of the process; tells apart processes that got the same pid. */
  readonly startTime: string;
  readonly bootId: string;
  /** Tells apart two locks of the same process; part of a file name. */
  readonly nonce: string;
}

const attemptsMax = 20;
const spareName = 'lock-spare';
const spareBytes = 16 * 1024;
const noncePattern = /^[\w-]{1,64}$/;

/** Takes the lock of a directory, created if missing. @throws ClustorError `CLUSTOR_DATA_DIRECTORY_LOCKED` that names the holder. */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  await mkdir(directory, { recursive: true });
  const own: Holder = {
    pid: process.pid,
    startTime: (await startTimeOf(process.pid)) ?? '',
    bootId: await bootId(),
    nonce: randomBytes(8).toString('hex'),
  };
  const temporary = join(directory, `lock.${own.pid}.${own.nonce}`);
  try {
    await writeOwn(directory, temporary, own);
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      if (await tryTake(directory, temporary, own)) return heldLock(directory, own);
    }
    throw new ClustorError(
      'CLUSTOR_DATA_DIRECTORY_LOCKED',
      `the lock of ${directory} changes hands all the time; stop the other starters`,
    );
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Writes the file that is to become the lock. @throws ClustorError `CLUSTOR_DISK_HARD` where not even that has room. */
async function writeOwn(directory: string, temporary: string, own: Holder): Promise<void> {
  const text = JSON.stringify(own);
  try {
    await writeFile(temporary, text);
    return;
  } catch (error) {
    if (codeOf(error) !== 'ENOSPC' && codeOf(error) !== 'EDQUOT') throw error;
  }
  await rm(join(directory, spareName), { force: true });
  try {
    await writeFile(temporary, text);
  } catch (error) {
    throw new ClustorError(
      'CLUSTOR_DISK_HARD',
      `the disk of ${directory} has no room for the file that locks it: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/** Keeps room for whoever takes the lock next; a disk that has none keeps nothing. Only for the holder. */
export async function keepLockSpare(directory: string): Promise<void> {
  const path = join(directory, spareName);
  try {
    if ((await stat(path).catch(() => undefined))?.size === spareBytes) return;
    await writeFile(path, new Uint8Array(spareBytes));
  } catch {
    await rm(path, { force: true }).catch(() => undefined);
  }
}

/** One attempt; `false` when others were faster and another look is due. */
async function tryTake(directory: string, temporary: string, own: Holder): Promise<boolean> {
  const path = join(directory, 'lock');
  if (await tryLink(temporary, path)) return true;
  const first = await readHolder(path);
  if (first === undefined) return false;
  const last = await lastOf(directory, first);
  if (await isAlive(last)) {
    if ((await readHolder(path))?.nonce !== first.nonce) return false;
    throw heldBy(directory, last);
  }
  const claim = claimPath(directory, last);
  if (!(await tryLink(temporary, claim))) return false;
  if ((await readHolder(path))?.nonce !== first.nonce) {
    await rm(claim, { force: true });
    return false;
  }
  await rename(temporary, path);
  await removeTraces(directory, own);
  return true;
}

/** Follows the successors of a holder to the last one. */
async function lastOf(directory: string, first: Holder): Promise<Holder> {
  let last = first;
  for (;;) {
    const next = await readHolder(claimPath(directory, last));
    if (next === undefined) return last;
    last = next;
  }
}

/** Removes what takeovers left, ours and those of the dead. Files that name nobody may be just about to be written. */
async function removeTraces(directory: string, own: Holder): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!name.startsWith('lock.')) continue;
    const path = join(directory, name);
    const left = await readHolder(path);
    if (left === undefined || (left.pid === 0 && !name.startsWith('lock.after.'))) continue;
    if (left.nonce === own.nonce || !(await isAlive(left))) await rm(path, { force: true });
  }
}

function claimPath(directory: string, dead: Holder): string {
  return join(directory, `lock.after.${dead.nonce}`);
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

async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    const parsed = parseHolder(await readFile(path, 'utf8'));
    if (parsed.nonce !== '') return parsed;
    // Damaged by a crash of the machine, or not ours: named by the file itself, the same for all who look.
    const { ino, mtimeMs } = await stat(path);
    return { ...parsed, nonce: `file-${ino}-${Math.trunc(mtimeMs)}` };
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** What a lock says; a part that is missing is empty, which no living process matches. */
function parseHolder(text: string): Holder {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  const fields = new Map<string, unknown>(Object.entries(parsed ?? {}));
  const pid = fields.get('pid');
  const nonce = textOf(fields.get('nonce'));
  return {
    pid: typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0 ? pid : 0,
    startTime: textOf(fields.get('startTime')),
    bootId: textOf(fields.get('bootId')),
    nonce: noncePattern.test(nonce) ? nonce : '',
  };
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

async function isAlive(holder: Holder): Promise<boolean> {
  if (holder.pid === 0 || holder.bootId !== (await bootId())) return false;
  const startTime = await startTimeOf(holder.pid);
  return startTime === undefined ? isHidden(holder.pid) : startTime === holder.startTime;
}

/** Whether there is such a process of another user, whom the host does not show to us. */
function isHidden(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

/** The lock of its holder; releasing it again does nothing, whoever has it by then. */
function heldLock(directory: string, own: Holder): DirectoryLock {
  let released: Promise<void> | undefined;
  return { release: () => (released ??= release(join(directory, 'lock'), own)) };
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
