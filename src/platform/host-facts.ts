/** What would stop a node besides its disk: the version of Node, open files, the clock, a port or a directory in use. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { isClustorError, messageOf } from '../base/errors.ts';
import type { DiskFinding } from '../policy/disk-hygiene.ts';
import type { NodeAddress } from '../ports/transport.ts';
import { lockDirectory } from './directory-lock.ts';

const nodeVersionMin = [20, 19] as const;
const openFilesMin = 256;
const openFilesGood = 4096;
/** This was written later than that: a clock before it is wrong. */
const clockMsMin = Date.UTC(2025, 0, 1);

/** What is found about the machine itself. */
export async function hostFindings(): Promise<readonly DiskFinding[]> {
  return [
    versionFinding(process.versions.node),
    clockFinding(Date.now()),
    await openFilesFinding(),
  ];
}

/** Judges a version of Node. */
export function versionFinding(version: string): DiskFinding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [majorMin, minorMin] = nodeVersionMin;
  const isOld = major < majorMin || (major === majorMin && minor < minorMin);
  const text = `Node.js ${version}`;
  return isOld
    ? {
        finding: 'NodeVersion',
        verdict: 'Reject',
        text,
        advice: `Install Node.js ${majorMin}.${minorMin} or newer.`,
      }
    : allow('NodeVersion', text);
}

/** Judges the wall clock. */
export function clockFinding(wallMs: number): DiskFinding {
  const text = `the clock says ${new Date(wallMs).toISOString()}`;
  return wallMs < clockMsMin
    ? {
        finding: 'Clock',
        verdict: 'Reject',
        text: `${text}, which has been`,
        advice: 'Set the clock: certificates are judged by it.',
      }
    : allow('Clock', text);
}

/** Whether another process uses a data directory; the lock is given back at once. */
export async function processFinding(directory: string): Promise<DiskFinding> {
  try {
    const lock = await lockDirectory(directory);
    await lock.release();
    return allow('NotInUse', 'no process uses it');
  } catch (error) {
    if (isClustorError(error, 'CLUSTOR_DATA_DIRECTORY_LOCKED'))
      return {
        finding: 'InUse',
        verdict: 'Allow',
        text: error.message,
        advice: 'A second node on it would be refused.',
      };
    return {
      finding: 'Lock',
      verdict: 'Reject',
      text: `its lock cannot be taken: ${messageOf(error)}`,
      advice: 'Give this user the right to write there, and the disk some room.',
    };
  }
}

/** Whether an address can be listened at. */
export async function portFinding({ host, port }: NodeAddress): Promise<DiskFinding> {
  const listen = `${host}:${port}`;
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, resolve);
    });
    return allow('Port', `${listen} is free`);
  } catch (error) {
    return {
      finding: 'Port',
      verdict: 'Reject',
      text: `${listen} cannot be listened at: ${messageOf(error)}`,
      advice: 'Stop what uses the port, or set another "listen".',
    };
  } finally {
    server.close();
  }
}

async function openFilesFinding(): Promise<DiskFinding> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const [, soft] = /^Max open files\s+(\S+)/m.exec(limits) ?? [];
  if (soft === undefined) return allow('OpenFiles', 'the limit of open files is not known');
  const limit = soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
  const text = `${soft} files may be open at once`;
  if (limit >= openFilesGood) return allow('OpenFiles', text);
  return {
    finding: 'OpenFiles',
    verdict: limit < openFilesMin ? 'Reject' : 'Warn',
    text,
    advice: `Raise it, such as by \`ulimit -n ${openFilesGood}\` or LimitNOFILE=; each connection takes one.`,
  };
}

function allow(finding: string, text: string): DiskFinding {
  return { finding, verdict: 'Allow', text, advice: 'Nothing to do.' };
}
