/**
 * A file that is open, and the descriptor through which it is reached: past the page cache, or through it.
 *
 * The descriptor of an open file can be changed for one of the other kind. It is opened anew through the old one, so that it is
 * the same file whatever its name is by now. Reads under way end on the descriptor that they began on; it is closed behind them.
 */
import { constants } from 'node:fs';
import { open, type FileHandle as NodeFileHandle } from 'node:fs/promises';

/** A descriptor. */
export interface Channel {
  readonly handle: NodeFileHandle;
  readonly isDirect: boolean;
}

interface UsedChannel extends Channel {
  uses: number;
  isLeft: boolean;
}

/** See the file comment. */
export class OpenFile {
  readonly path: string;
  /** Whether chains may write it; only then its descriptor is ever changed. */
  readonly isDurable: boolean;
  /** Its size was changed: the next sync step is a real one even in direct mode. */
  isSizeDirty = false;
  #channel: UsedChannel;

  constructor(path: string, channel: Channel, isDurable: boolean) {
    this.path = path;
    this.isDurable = isDurable;
    this.#channel = { ...channel, uses: 0, isLeft: false };
  }

  /** How it is reached now. */
  get channel(): Channel {
    return this.#channel;
  }

  /** Does something that takes more than one call with the present descriptor. */
  async use<Result>(run: (channel: Channel) => Promise<Result>): Promise<Result> {
    const channel = this.#channel;
    channel.uses++;
    try {
      return await run(channel);
    } finally {
      channel.uses--;
      if (channel.isLeft && channel.uses === 0) await channel.handle.close();
    }
  }

  /** Leaves the present descriptor for another one of the same file; no chain is under way. */
  async replace(channel: Channel): Promise<void> {
    const left = this.#channel;
    this.#channel = { ...channel, uses: 0, isLeft: false };
    await leave(left);
  }

  /** Closes it, behind what is under way. */
  close(): Promise<void> {
    return leave(this.#channel);
  }
}

async function leave(channel: UsedChannel): Promise<void> {
  channel.isLeft = true;
  if (channel.uses === 0) await channel.handle.close();
}

/**
 * A direct descriptor of a path. A first block that the disk does not give back is no refusal: who reads it is told.
 * @throws Error of code `EINVAL` where there are no direct writes.
 */
export async function openDirectly(path: string, probe: Uint8Array): Promise<NodeFileHandle> {
  // A host without these flags leaves them undefined, and an open with fewer flags would succeed.
  if (!constants.O_DIRECT || !constants.O_DSYNC)
    throw Object.assign(new Error('no direct writes on this host'), { code: 'EINVAL' });
  const handle = await open(path, constants.O_RDWR | constants.O_DIRECT | constants.O_DSYNC);
  try {
    await handle.read(probe, 0, probe.length, 0);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code !== 'EINVAL') return handle;
    await handle.close();
    throw error;
  }
  return handle;
}

/**
 * Brings open files past the page cache or back, all of them or none. What lies in the page cache is synced first: from then
 * on the disk alone says what a direct file holds.
 * @throws Error where a sync fails (KER-10). @returns Whether it was done.
 */
export async function reopenFiles(
  files: readonly OpenFile[],
  isDirect: boolean,
  probe: Uint8Array,
): Promise<boolean> {
  const others = files.filter((file) => file.isDurable && file.channel.isDirect !== isDirect);
  if (isDirect) for (const file of others) await file.channel.handle.datasync();
  const handles: NodeFileHandle[] = [];
  try {
    for (const { channel } of others) {
      const path = `/proc/self/fd/${channel.handle.fd}`;
      handles.push(isDirect ? await openDirectly(path, probe) : await open(path, 'r+'));
    }
  } catch {
    for (const handle of handles) await handle.close();
    return false;
  }
  for (const [at, file] of others.entries()) {
    const handle = handles[at];
    if (handle !== undefined) await file.replace({ handle, isDirect });
  }
  return true;
}
