/**
 * The guides, followed as they stand from an empty folder with the package as it is published: files are saved, changes
 * made, commands run, and what they print is what the page says.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { expect, test } from 'vitest';

import { scratchDirectory } from './support/up-process.ts';

const root = resolve(import.meta.dirname, '..', '..');

type Step =
  | { readonly kind: 'file' | 'diff'; readonly name: string; readonly text: string }
  | { readonly kind: 'command'; readonly command: string; readonly output: string };

/** The blocks of a page, in order. */
function stepsOf(page: string): readonly Step[] {
  const text = readFileSync(join(root, 'docs', 'guide', page), 'utf8');
  return [...text.matchAll(/^```(\w+) ?(\S*)\n([\s\S]*?)^```/gm)].flatMap(
    ([, language = '', name = '', block = '']): readonly Step[] => {
      if (language === 'console') {
        return block
          .split(/^\$ /m)
          .slice(1)
          .map((part) => {
            const [command = '', ...output] = part.trimEnd().split('\n');
            return { kind: 'command', command, output: output.join('\n') };
          });
      }
      return name === ''
        ? []
        : [{ kind: language === 'diff' ? 'diff' : 'file', name, text: block }];
    },
  );
}

/** What the page prints, as a pattern: an ellipsis is anything, and numbers are examples. */
function patternOf(output: string): RegExp {
  const pattern = output
    .replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll(/\d+/g, String.raw`\d+`)
    .replaceAll('…', String.raw`[\s\S]*?`);
  return new RegExp(`^${pattern}$`);
}

function save(directory: string, step: Step & { readonly kind: 'file' | 'diff' }): void {
  const path = join(directory, step.name);
  const before = existsSync(path) ? readFileSync(path, 'utf8') : '';
  if (step.kind === 'file') {
    writeFileSync(path, before + step.text);
    return;
  }
  const side = (sign: string): string =>
    step.text
      .split('\n')
      .filter((line) => line.startsWith(sign))
      .map((line) => line.slice(1))
      .join('\n');
  expect(before, step.text).toContain(side('-'));
  writeFileSync(
    path,
    before.replace(side('-'), () => side('+')),
  );
}

function packed(): string {
  const directory = scratchDirectory('packed');
  const listed = execFileSync(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', directory],
    { cwd: root, encoding: 'utf8' },
  );
  const [pack] = JSON.parse(listed) as [{ readonly filename: string }];
  return join(directory, pack.filename);
}

/** What the page says with less to do: no search for the fewest faults, which is a minute, and few runs of a machine that is right. */
function shortened(text: string): string {
  return text
    .replace(/sim run --module \S+$/, '$& --no-shrink')
    .replace('--seeds 10', '--seeds 2')
    .replace('{ seeds: 5 }', '{ seeds: 2 }');
}

test(
  'testing your state machine: both mistakes are found, and none is left',
  { timeout: 600_000 },
  () => {
    const steps = stepsOf('testing-your-state-machine.md');
    const directory = scratchDirectory('guide');
    const tarball = packed();

    for (const step of steps) {
      if (step.kind !== 'command') {
        save(directory, { ...step, text: shortened(step.text) });
        continue;
      }
      const command = shortened(step.command).replace(
        'npm install clustor',
        `npm install ${tarball}`,
      );
      const { stdout, stderr } = spawnSync('sh', ['-c', command], {
        cwd: directory,
        encoding: 'utf8',
        env: { ...process.env, NO_COLOR: '1', npm_config_audit: 'false', npm_config_fund: 'false' },
      });
      if (step.output !== '')
        expect(stdout.trimEnd(), `${command}\n${stderr}`).toMatch(patternOf(step.output));
    }

    expect(steps.filter(({ kind }) => kind === 'command')).toHaveLength(7);
    expect(readFileSync(join(directory, 'run.html'), 'utf8')).toContain('client-');
  },
);
