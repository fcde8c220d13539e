import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeShop } from './openapi/describe.js';
import { pathOf, textOf, topFolder } from './openapi/document.js';

/** Writes the documents of the services, and says which of them are others than before. */
for (const [service, document] of await describeShop()) {
  const path = join(topFolder, pathOf(service));
  const text = textOf(document);
  const before = await readFile(path, 'utf8').catch(() => undefined);
  if (before !== text) await writeFile(path, text);
  console.log(`${pathOf(service)} ${before === text ? 'is as it was' : 'is written'}.`);
}
