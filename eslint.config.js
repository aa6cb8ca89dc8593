import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Time, chance and turns of the loop reach the code below the rim only through ports (docs/specification.md §1). */
const restrictedGlobals = [
  'setTimeout',
  'setInterval',
  'setImmediate',
  'clearTimeout',
  'clearInterval',
  'clearImmediate',
  'queueMicrotask',
  'performance',
  'process',
  'fetch',
  'WebSocket',
].map((name) => ({
  name,
  message: 'Time, chance and I/O come in through a port; only platform and cli touch them.',
}));

const restrictedProperties = [
  { object: 'Date', property: 'now', message: 'Take the time from ports/clock.' },
  { object: 'Math', property: 'random', message: 'Take chance from ports/entropy or base/prng.' },
  { object: 'crypto', property: 'getRandomValues', message: 'Take chance from ports/entropy.' },
  { object: 'crypto', property: 'randomUUID', message: 'Take chance from ports/entropy.' },
];

const noDefaultExport = {
  selector: 'ExportDefaultDeclaration',
  message: 'Named exports only.',
};
const noExportAll = {
  selector: 'ExportAllDeclaration',
  message: 'An entry point lists its names one by one.',
};
const noCurrentDate = {
  selector: "NewExpression[callee.name='Date'][arguments.length=0]",
  message: 'Take the time from ports/clock.',
};
const noAsync = [
  { selector: 'AwaitExpression', message: 'The pure layers never wait.' },
  { selector: ':function[async=true]', message: 'The pure layers never wait.' },
];

export default defineConfig(
  {
    ignores: [
      'dist/',
      'coverage/',
      '.bench/',
      'docs/api/',
      '**/generated/**',
      '**/node_modules/**',
      'test/**/fixtures/**',
    ],
  },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.ts'],
    extends: [
      js.configs.recommended,
      ...tseslint.configs.strictTypeChecked,
      ...tseslint.configs.stylisticTypeChecked,
    ],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      'max-lines': ['error', { max: 500 }],
      'max-lines-per-function': ['error', { max: 70, skipBlankLines: true, skipComments: true }],
      'max-depth': ['error', 4],
      '@typescript-eslint/max-params': ['error', { max: 3 }],
      'no-restricted-syntax': ['error', noDefaultExport, noExportAll],
      eqeqeq: 'error',
      'no-param-reassign': 'off',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false },
      ],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'all' },
      ],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/restrict-plus-operands': ['error', { allowNumberAndString: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // State behind an `await` must be looked at again; this rule takes the second look for a mistake.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // Interfaces with one implementation today, ids with one use today: noise.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      '@typescript-eslint/no-invalid-void-type': 'off',
      '@typescript-eslint/unified-signatures': 'off',
      // It asks for the `!` that no-non-null-assertion forbids.
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      '@typescript-eslint/prefer-for-of': 'off',
      // A port may promise more than one host needs.
      '@typescript-eslint/require-await': 'off',
      // `() => {}` says "nothing happens" well enough.
      '@typescript-eslint/no-empty-function': 'off',
      // There are no enums but generated ones, and objects are taken for what they do; these two cost a quarter of the lint.
      '@typescript-eslint/no-unsafe-enum-assignment': 'off',
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      // Functions are passed by name all over; `this` is private state and would not compile.
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/platform/**', 'src/cli/**'],
    rules: {
      'no-restricted-globals': ['error', ...restrictedGlobals],
      'no-restricted-properties': ['error', ...restrictedProperties],
      'no-restricted-syntax': ['error', noDefaultExport, noExportAll, noCurrentDate],
      'no-restricted-imports': [
        'error',
        { patterns: [{ group: ['node:*'], message: 'Only platform and cli touch the host.' }] },
      ],
    },
  },
  {
    // A function of its arguments needs no port; its chance comes from ports/entropy (docs/adr/0013).
    files: ['src/security/node-cryptography.ts'],
    rules: { 'no-restricted-imports': 'off' },
  },
  {
    files: ['src/{base,codec,raft,policy}/**/*.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        ...restrictedGlobals,
        'Buffer',
        'TextEncoder',
        'TextDecoder',
      ],
      'no-restricted-syntax': ['error', noDefaultExport, noExportAll, noCurrentDate, ...noAsync],
    },
  },
  {
    // Code on bytes takes (bytes, start, end, seed), the core (state, context, …): an options object there is an allocation per call.
    files: ['src/{base,codec,raft}/**/*.ts'],
    rules: { '@typescript-eslint/max-params': ['error', { max: 4 }] },
  },
  {
    files: ['{test,sim,bench,scripts,examples}/**/*.ts', '*.ts'],
    rules: {
      'max-lines-per-function': 'off',
      '@typescript-eslint/max-params': ['error', { max: 5 }],
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-dynamic-delete': 'off',
    },
  },
  {
    files: ['*.config.{js,ts}'],
    rules: { 'no-restricted-syntax': 'off' },
  },
  { files: ['*.js'], extends: [js.configs.recommended] },
  {
    // Browser scripts of one scope; the compiler checks their names and types (tsconfig.browser.json).
    files: ['src/testing/report/viewer/*.js'],
    extends: [js.configs.recommended],
    languageOptions: { sourceType: 'script' },
    rules: {
      'no-undef': 'off',
      'no-unused-vars': ['error', { vars: 'local' }],
      'max-lines': ['error', { max: 500 }],
      'max-lines-per-function': ['error', { max: 70, skipBlankLines: true, skipComments: true }],
      'max-params': ['error', { max: 3 }],
      'max-depth': ['error', 4],
      'prefer-const': 'error',
      eqeqeq: 'error',
    },
  },
);
