/** Node processes of a local cluster: what they print, how they end, what happens when none can be made. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, onTestFinished, test } from 'vitest';

import { Supervisor, type NodeEvent } from '../../src/cli/supervisor.ts';

/** Prints what its configuration says, and ends as it says; without a code it stays. */
const program = `
import { readFileSync } from 'node:fs';
const { lines = [], words = '', code } = JSON.parse(readFileSync(process.argv[4], 'utf8'));
process.stderr.write(words);
for (const line of lines) console.log(line.replaceAll('PID', process.pid));
if (code === undefined) process.stdin.resume();
else process.exitCode = code;
`;

interface Behaviour {
  readonly lines?: readonly string[];
  readonly words?: string;
  readonly code?: number;
}

class Nursery {
  readonly folder = mkdtempSync(join(tmpdir(), 'clustor-supervisor-'));
  readonly events: NodeEvent[] = [];
  readonly supervisor: Supervisor;

  constructor(behaviours: readonly Behaviour[], isRestarting = false) {
    onTestFinished(async () => {
      await this.supervisor.stop();
      rmSync(this.folder, { recursive: true, force: true });
    });
    const programPath = join(this.folder, 'program.mjs');
    writeFileSync(programPath, program);
    behaviours.forEach((behaviour, at) => {
      mkdirSync(this.folderOf(at + 1));
      writeFileSync(join(this.folderOf(at + 1), 'config.json'), JSON.stringify(behaviour));
    });
    this.supervisor = new Supervisor({
      programPath,
      nodes: behaviours.map((_, at) => ({
        nodeId: at + 1,
        configPath: join(this.folderOf(at + 1), 'config.json'),
        logPath: join(this.folderOf(at + 1), 'node.log'),
      })),
      isRestarting,
      onEvent: (event) => this.events.push(event),
    });
  }

  folderOf(nodeId: number): string {
    return join(this.folder, `node-${nodeId}`);
  }

  async until(event: NodeEvent['event'], count = 1): Promise<void> {
    for (const endMs = Date.now() + 10_000; ;) {
      if (this.events.filter((row) => row.event === event).length >= count) return;
      if (Date.now() > endMs) throw new Error(`in vain waited for ${event}`);
      await new Promise((wake) => setTimeout(wake, 10));
    }
  }
}

const ready = '{"event":"ready","nodeId":1,"pid":PID,"address":"127.0.0.1:1","product":{}}';

test('lines of a product are nothing to the supervisor, whatever they look like', async () => {
  const lines = ['{ hello: 1 }', '{', 'null', '{"event":"ready"}', '{"event":"ready","nodeId":7}'];
  const nursery = new Nursery([{ lines: [...lines, ready] }]);

  nursery.supervisor.start();
  await nursery.until('nodeReady');

  expect(nursery.events).toEqual([
    { event: 'nodeReady', node: expect.objectContaining({ nodeId: 1, address: '127.0.0.1:1' }) },
  ]);
});

test('a node that ends has last words, those of this start', async () => {
  const nursery = new Nursery([{ words: '', code: 2 }]);
  writeFileSync(join(nursery.folderOf(1), 'node.log'), 'Error: of long ago\n');

  nursery.supervisor.start();
  await nursery.until('nodeExited');

  expect(nursery.events).toMatchObject([{ event: 'nodeExited', code: 2, lastWords: undefined }]);
});

test.each([
  ['its own error', '{"error":{"code":"CLUSTOR_X","message":"why"}}\n', 'CLUSTOR_X why'],
  [
    'the error that nobody caught',
    'Error: boom\n    at x.js:1:1\n\nNode.js v22.1.0\n',
    'Error: boom',
  ],
  ['an event', '{"kind":"opened"}\n{"kind":"stopping"}\n', '{"kind":"stopping"}'],
])('the last words of a node are %s', async (_name, words, lastWords) => {
  const nursery = new Nursery([{ words, code: 1 }]);

  nursery.supervisor.start();
  await nursery.until('nodeExited');

  expect(nursery.events).toMatchObject([{ event: 'nodeExited', lastWords }]);
});

test('a node whose folder is gone is told once with a code, and the others go on', async () => {
  const nursery = new Nursery([{ code: 0 }, { lines: [ready.replace('1', '2')] }], true);
  rmSync(nursery.folderOf(1), { recursive: true });

  nursery.supervisor.start();
  await nursery.until('nodeReady');
  await new Promise((wake) => setTimeout(wake, 1_500));

  const missing = nursery.events.filter((event) => event.event === 'nodeNotStarted');
  expect(missing).toMatchObject([{ nodeId: 1, error: { code: 'CLUSTOR_REPLICA_FILES_MISSING' } }]);

  mkdirSync(nursery.folderOf(1));
  writeFileSync(join(nursery.folderOf(1), 'config.json'), JSON.stringify({ lines: [ready] }));
  await nursery.until('nodeReady', 2);
});
