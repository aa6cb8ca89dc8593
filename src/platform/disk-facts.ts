/**
 * What this host tells of the disk below a directory: `/proc/self/mountinfo` for the file system, `/sys` for the devices that
 * it is made of, and a probe that times syncs. What cannot be read is left out; the judgement says so.
 */
import { open, readdir, readFile, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { DeviceFacts, DiskFacts, FsyncProbe } from '../policy/disk-hygiene.ts';

/** A line of `/proc/self/mountinfo`. */
export interface Mount {
  readonly device: string;
  readonly mountPoint: string;
  readonly fileSystem: string;
  readonly options: readonly string[];
}

/** How long and how often syncs are timed. */
export interface ProbeBounds {
  readonly samplesMax: number;
  readonly msMax: number;
}

const probeBytes = 4 * 1024 * 1024;
const blockBytes = 4096;
/** Devices on devices at most. */
const stackDepthMax = 8;

/** Gathers what is known of the disk below an existing directory. */
export async function diskFactsOf(directory: string, bounds: ProbeBounds): Promise<DiskFacts> {
  const path = await realpath(directory);
  const text = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  const mount = mountOf(parseMounts(text), path);
  const probe = await timeSyncs(path, bounds).catch(() => undefined);
  if (mount === undefined)
    return { fileSystem: '', mountPoint: '', options: [], devices: [], probe };
  const { fileSystem, mountPoint, options } = mount;
  const devices = await devicesBelow(await deviceNumber(path, mount)).catch(() => []);
  return { fileSystem, mountPoint, options, devices, probe };
}

/** Parses `/proc/self/mountinfo`. */
export function parseMounts(text: string): readonly Mount[] {
  return text
    .split('\n')
    .filter((line) => line.includes(' - '))
    .map((line) => {
      const [before = '', behind = ''] = line.split(' - ');
      const [, , device = '', , mountPoint = '', options = ''] = before.split(' ');
      const [fileSystem = '', , superOptions = ''] = behind.split(' ');
      return {
        device,
        mountPoint: unescaped(mountPoint),
        fileSystem,
        options: [...new Set([...options.split(','), ...superOptions.split(',')])],
      };
    });
}

/** The mount that a path lies on: the longest one above it, the last one of those that cover each other. */
export function mountOf(mounts: readonly Mount[], path: string): Mount | undefined {
  let found: Mount | undefined;
  for (const mount of mounts) {
    const { mountPoint } = mount;
    const isAbove = mountPoint === '/' || path === mountPoint || path.startsWith(`${mountPoint}/`);
    if (isAbove && mountPoint.length >= (found?.mountPoint.length ?? 0)) found = mount;
  }
  return found;
}

function unescaped(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/** File systems such as btrfs show a number of their own in the mounts; the file knows no better one then. */
async function deviceNumber(path: string, { device }: Mount): Promise<string> {
  if (!device.startsWith('0:')) return device;
  const { dev } = await stat(path);
  return `${(dev >> 8) & 0xfff}:${(dev & 0xff) | ((dev >> 12) & 0xfff00)}`;
}

async function devicesBelow(number: string): Promise<readonly DeviceFacts[]> {
  const folder = await realpath(`/sys/dev/block/${number}`);
  return leavesOf(folder, 0);
}

async function leavesOf(folder: string, depth: number): Promise<readonly DeviceFacts[]> {
  const slaves = await readdir(join(folder, 'slaves')).catch(() => []);
  if (slaves.length > 0 && depth < stackDepthMax) {
    const below = await Promise.all(
      slaves.map(async (name) => leavesOf(await realpath(join(folder, 'slaves', name)), depth + 1)),
    );
    return below.flat();
  }
  // A partition has no queue; its disk is the folder above.
  const isPartition = (await wordOf(join(folder, 'partition'))) !== undefined;
  const disk = isPartition ? join(folder, '..') : folder;
  const fua = await wordOf(join(disk, 'queue/fua'));
  const rotational = await wordOf(join(disk, 'queue/rotational'));
  return [
    {
      name: (await realpath(disk)).split('/').at(-1) ?? '',
      writeCache: await wordOf(join(disk, 'queue/write_cache')),
      hasFua: fua === undefined ? undefined : fua === '1',
      isRotational: rotational === undefined ? undefined : rotational === '1',
      serial: (await wordOf(join(disk, 'serial'))) ?? (await wordOf(join(disk, 'device/serial'))),
    },
  ];
}

async function wordOf(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return text === undefined || text.trim() === '' ? undefined : text.trim();
}

/** Times syncs of blocks of a file that has its room already, as the journal has; the file is gone afterwards. */
async function timeSyncs(directory: string, bounds: ProbeBounds): Promise<FsyncProbe> {
  const path = join(directory, `.sync-probe-${process.pid}`);
  const startedMs = performance.now();
  const times: number[] = [];
  try {
    const handle = await open(path, 'w');
    try {
      await handle.write(new Uint8Array(probeBytes), 0, probeBytes, 0);
      await handle.sync();
      const block = new Uint8Array(blockBytes).fill(1);
      // One after the other is what is measured.
      while (times.length < bounds.samplesMax && performance.now() - startedMs < bounds.msMax) {
        const position = (times.length * blockBytes) % probeBytes;
        const beforeMs = performance.now();
        await handle.write(block, 0, blockBytes, position);
        await handle.datasync();
        times.push(performance.now() - beforeMs);
      }
    } finally {
      await handle.close();
    }
  } finally {
    await rm(path, { force: true });
  }
  const sorted = times.toSorted((left, right) => left - right);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  if (sorted.length === 0) throw new Error('no sync ended in time');
  return { samples: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}
