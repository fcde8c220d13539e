import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import t from 'tap';

/** What a page has to load for this client, compressed, in bytes. README says so too. */
const maxBytes = 6000;

async function bundle(code: string) {
  const { outputFiles, metafile } = await build({
    stdin: { contents: code, resolveDir: fileURLToPath(new URL('../', import.meta.url)) },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    conditions: ['browser'],
    metafile: true,
    write: false,
  });
  const [file] = outputFiles;
  const text = file?.text ?? '';
  return { text, inputs: Object.keys(metafile.inputs), bytes: gzipSync(text, { level: 9 }).length };
}

t.test('when a page ships the client, then it is small and needs no exception', async (t) => {
  const whole = await bundle("export * from '@bazar/client';");
  t.comment(`the whole client: ${whole.bytes} bytes`);
  t.ok(whole.bytes > 1000 && whole.bytes <= maxBytes, `${whole.bytes} of ${maxBytes} bytes`);
  t.notMatch(whole.text, /\bFunction\(|\beval\(/, 'a strict content security policy allows it');
  t.notMatch(whole.text, /node:|require\(/, 'nothing of Node');
  t.notOk(
    whole.inputs.some((path) => path.includes('typebox')),
    'no schemas',
  );
  const shop = await bundle("export { createBazar } from '@bazar/client';");
  t.ok(shop.bytes < whole.bytes, 'what is not used is left out');
  t.notMatch(shop.text, /\/books/);
});
