/**
 * `tsx bench/etcd/install.ts`: brings the etcd server that the comparison runs against, Debian's
 * package `etcd-server`, unless an `etcd` program is there already.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const candidates = ['/usr/bin/etcd', '/usr/local/bin/etcd'];

/** Where the etcd program lies; installs it first where it is missing. */
export function ensureEtcd(): string {
  const found = findEtcd();
  if (found !== undefined) return found;
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = (...words: string[]): void => {
    execFileSync('apt-get', words, { stdio: ['ignore', 'ignore', 'inherit'], env: environment });
  };
  install('update', '-qq');
  // On a machine with services the package starts a server of its own; the bench takes other, free ports.
  install('install', '-y', '-qq', '--no-install-recommends', 'etcd-server');
  const installed = findEtcd();
  if (installed === undefined) throw new Error('etcd-server was installed but has no etcd program');
  return installed;
}

function findEtcd(): string | undefined {
  const path = candidates.find((candidate) => existsSync(candidate));
  if (path === undefined) return undefined;
  return spawnSync(path, ['--version']).status === 0 ? path : undefined;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.stdout.write(`${ensureEtcd()}\n`);
}
