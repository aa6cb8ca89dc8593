/**
 * Child processes of a bench: started with their output in a file, each leading a process group of its own, so
 * that whatever it started in turn is gone with it when the bench ends.
 */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { repositoryDirectory } from './scratch.ts';

const stopGraceMs = 5000;
const children = new Set<ChildProcess>();

process.on('exit', () => {
  for (const child of children) killGroup(child);
});

/** How a child is started. */
export interface ChildOptions {
  /** The file that receives what the child prints. */
  readonly logPath: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Standard output goes to the parent instead of to the log. */
  readonly isOutputPiped?: boolean;
  /** The child gets a message channel to the parent. */
  readonly hasChannel?: boolean;
}

/** Starts a program. */
export function startProgram(
  command: string,
  words: readonly string[],
  options: ChildOptions,
): ChildProcess {
  const log = openSync(options.logPath, 'a');
  const stdio: StdioOptions = ['ignore', options.isOutputPiped === true ? 'pipe' : log, log];
  if (options.hasChannel === true) stdio.push('ipc');
  const child = spawn(command, words, {
    stdio,
    detached: true,
    cwd: repositoryDirectory,
    env: { ...process.env, ...options.environment },
  });
  closeSync(log);
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

/** Starts a TypeScript file of the bench as a process of its own, with a message channel. */
export function startScript(url: URL, words: readonly string[], logPath: string): ChildProcess {
  return startProgram(process.execPath, ['--import', 'tsx', fileURLToPath(url), ...words], {
    logPath,
    hasChannel: true,
  });
}

/** Resolves with the next message of a child; rejects when it ends before. */
export function nextMessage(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      child.off('message', take);
      child.off('error', reject);
      child.off('exit', ended);
      act();
    };
    const take = (message: unknown): void => {
      settle(() => {
        resolve(message);
      });
    };
    const ended = (code: number | null, signal: string | null): void => {
      settle(() => {
        reject(new Error(`a child ended before it answered (${String(code ?? signal)})`));
      });
    };
    child.once('message', take);
    child.once('error', reject);
    child.once('exit', ended);
  });
}

/** Asks a child to end, insists after a while, and resolves when it is gone. */
export function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const insist = setTimeout(() => {
      killGroup(child);
    }, stopGraceMs);
    child.once('exit', () => {
      clearTimeout(insist);
      resolve();
    });
    child.kill('SIGTERM');
  });
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The whole group has ended already.
  }
}
