/** What the kernel says about processes: CPU time, resident memory and bytes sent to the disk. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** The consumption of a stretch of time. */
export interface Consumption {
  readonly seconds: number;
  /** CPU seconds of all servers together, kernel time included. */
  readonly serverCpuSeconds: number;
  /** CPU seconds of this process, the load client. */
  readonly clientCpuSeconds: number;
  /** Resident memory of each server at the end, in bytes. */
  readonly serverResidentBytes: readonly number[];
  readonly clientResidentBytes: number;
  /** Bytes that the servers caused to be sent to the disk. */
  readonly serverWrittenBytes: number;
}

interface Reading {
  readonly atMs: number;
  readonly serverCpuTicks: number;
  readonly clientCpuTicks: number;
  readonly writtenBytes: number;
}

const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** Begins a stretch; the function it returns ends it. */
export function beginReading(serverPids: readonly number[]): () => Consumption {
  const before = read(serverPids);
  return () => {
    const after = read(serverPids);
    return {
      seconds: (after.atMs - before.atMs) / 1000,
      serverCpuSeconds: (after.serverCpuTicks - before.serverCpuTicks) / ticksPerSecond,
      clientCpuSeconds: (after.clientCpuTicks - before.clientCpuTicks) / ticksPerSecond,
      serverResidentBytes: serverPids.map(residentBytes),
      clientResidentBytes: residentBytes(process.pid),
      serverWrittenBytes: after.writtenBytes - before.writtenBytes,
    };
  };
}

function read(serverPids: readonly number[]): Reading {
  return {
    atMs: performance.now(),
    serverCpuTicks: sum(serverPids, cpuTicks),
    clientCpuTicks: cpuTicks(process.pid),
    writtenBytes: sum(serverPids, writtenBytes),
  };
}

function sum(pids: readonly number[], of: (pid: number) => number): number {
  return pids.reduce((total, pid) => total + of(pid), 0);
}

function cpuTicks(pid: number): number {
  const text = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
  // The program's name may hold blanks; behind its closing bracket user and system time are the 12th and 13th word.
  const words = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return Number(words[11]) + Number(words[12]);
}

function residentBytes(pid: number): number {
  const found = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'));
  return Number(found?.[1] ?? 0) * 1024;
}

function writtenBytes(pid: number): number {
  const found = /^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${String(pid)}/io`, 'utf8'));
  return Number(found?.[1] ?? 0);
}
