import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, describe, expect, test, vi } from 'vitest';

import { createOutput } from '../../src/cli/output.ts';
import { runDoctor } from '../../src/cli/doctor-command.ts';
import { admitDisk, overrideFileName, type DiskPolicy } from '../../src/platform/disk-admission.ts';
import { diskFactsOf, mountOf, parseMounts } from '../../src/platform/disk-facts.ts';
import { clockFinding, portFinding, versionFinding } from '../../src/platform/host-facts.ts';
import { writerFindings } from '../../src/platform/writer-finding.ts';
import { lockDirectory } from '../../src/platform/directory-lock.ts';

const made: string[] = [];

function folderIn(parent: string): string {
  const folder = mkdtempSync(join(parent, 'clustor-disk-'));
  made.push(folder);
  return folder;
}

afterEach(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const mounts = [
  '27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,data=ordered',
  '30 27 0:25 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=24684096k',
  '31 27 8:1 / /srv/with\\040space rw master:1 - xfs /dev/sda1 rw,nobarrier',
  '32 27 8:2 / /srv rw - xfs /dev/sda2 rw',
  '33 32 8:3 / /srv rw - btrfs /dev/sda3 rw,subvol=/',
].join('\n');

describe('mounts', () => {
  test.each([
    ['/data', 'ext4'],
    ['/dev/shm/x', 'tmpfs'],
    ['/dev/shmx', 'ext4'],
    ['/srv/with space/data', 'xfs'],
    ['/srv/other', 'btrfs'],
  ])('the one that %s lies on is of type %s', (path, fileSystem) => {
    expect(mountOf(parseMounts(mounts), path)?.fileSystem).toBe(fileSystem);
  });

  test('options of the mount and of the file system are one list', () => {
    expect(mountOf(parseMounts(mounts), '/')?.options).toEqual([
      'rw',
      'relatime',
      'discard',
      'data=ordered',
    ]);
  });

  test('the disk of this host is looked at, and nothing is left behind', async () => {
    const folder = folderIn(tmpdir());

    const facts = await diskFactsOf(folder, { samplesMax: 5, msMax: 5_000 });

    expect(facts.fileSystem).not.toBe('');
    expect(facts.probe?.samples).toBe(5);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe.runIf(existsSync('/dev/shm'))('a data directory in memory', () => {
  const wallMs = Date.UTC(2026, 5, 1);
  const admit = (directory: string, policy: DiskPolicy, events: string[] = []): Promise<unknown> =>
    admitDisk({
      directory,
      policy,
      wallMs,
      observer: { emit: ({ kind }) => void events.push(kind) },
    });

  function record(directory: string, expiresAt: string): void {
    const decision = { attestedBy: 'Ada', ticket: 'OPS-1', reason: 'a bench', expiresAt };
    writeFileSync(join(directory, overrideFileName), JSON.stringify(decision));
  }

  test('is refused with the reason, and only told in development', async () => {
    const directory = folderIn('/dev/shm');
    const events: string[] = [];

    await expect(admit(directory, 'refuse')).rejects.toMatchObject({
      code: 'CLUSTOR_DISK_UNSAFE',
      message: expect.stringContaining('is memory') as string,
    });
    expect(await admit(directory, 'warn', events)).toMatchObject({ verdict: 'Reject' });
    expect(events).toContain('diskHygiene');
  });

  test('is used under a recorded decision, for as long as that lasts', async () => {
    const directory = folderIn('/dev/shm');
    const events: string[] = [];
    record(directory, '2026-06-02T00:00:00Z');

    expect(await admit(directory, 'refuse', events)).toMatchObject({
      verdict: 'Reject',
      override: { attestedBy: 'Ada' },
    });
    expect(events).toContain('diskOverrideUsed');

    record(directory, '2026-05-31T00:00:00Z');
    await expect(admit(directory, 'refuse')).rejects.toThrow('has expired');
  });

  test('stops the doctor as well', async () => {
    expect(await runDoctor(folderIn('/dev/shm'), createOutput(true))).toBe(1);
  });
});

describe('the doctor', () => {
  test('finds no fault with a directory on disk, in use or not', async () => {
    const folder = folderIn(tmpdir());
    const lock = await lockDirectory(folder);
    try {
      expect(await runDoctor(folder, createOutput(true))).toBe(0);
    } finally {
      await lock.release();
    }
    expect(await runDoctor(folder, createOutput(false))).toBe(0);
  });

  test('says in which mode a node would write, and leaves nothing behind', async () => {
    const folder = folderIn(tmpdir());
    expect(await writerFindings(folder)).toMatchObject([{ finding: 'Writer', verdict: 'Allow' }]);

    const refusal = Object.assign(new Error('EINVAL: invalid argument'), { code: 'EINVAL' });
    const handle = await open(process.execPath, 'r');
    vi.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'read').mockRejectedValueOnce(refusal);
    await handle.close();
    expect(await writerFindings(folder)).toMatchObject([
      { finding: 'Writer', verdict: 'Warn', text: expect.stringContaining('Pooled') as string },
    ]);
    vi.restoreAllMocks();

    expect(readdirSync(folder)).toEqual([]);
    expect(await writerFindings(join(folder, 'absent'))).toEqual([]);
  });

  test('says that there is no directory', async () => {
    expect(await runDoctor('/does/not/exist', createOutput(true))).toBe(1);
  });

  test.each([
    ['20.18.9', 'Reject'],
    ['20.19.0', 'Allow'],
    ['18.20.0', 'Reject'],
    ['24.0.0', 'Allow'],
  ])('judges Node.js %s: %s', (version, verdict) => {
    expect(versionFinding(version).verdict).toBe(verdict);
  });

  test('judges a clock of 1970 and a port that nobody can have', async () => {
    expect(clockFinding(0).verdict).toBe('Reject');
    expect(clockFinding(Date.now()).verdict).toBe('Allow');
    expect((await portFinding({ host: '203.0.113.1', port: 1 })).verdict).toBe('Reject');
  });
});
