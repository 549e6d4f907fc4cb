/** Requests to the service, and its errors in words. The API key is kept in this module's memory and nowhere else. */

const ATTEMPTS = 4;
const LONGEST_WAIT = 10;
const MOST_IMAGES = 500;

let apiKey = "";
let asking = null;
let askForKey = async () => null;
let onBusy = () => {};
const images = new Map();

/** What went wrong, as a sentence; `status` is that of the answer, 0 without one. */
export class ServiceError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.name = "ServiceError";
    this.status = status;
  }
}

/**
 * Sets what is called for a key (`ask(wasRefused)`, gives the key or null) and while a busy service is waited for
 * (`busy(seconds)`, 0 afterwards).
 */
export function configure({ ask, busy }) {
  askForKey = ask;
  onBusy = busy;
}

/**
 * The answer to a request. A busy service is asked again after the time that it names; a key is asked for once for all
 * requests that need it.
 * @param path  of the route, relative to the page; parts that are data are encoded by the caller.
 * @param query  parameters; those that are null are left out.
 * @param body  what to post as JSON; without it the request is a GET.
 * @throws {ServiceError} with a sentence to show; DOMException "AbortError" if the signal aborts.
 */
export async function request(path, { query = {}, body = null, signal = null } = {}) {
  const response = await send(address(path, query), body, signal);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service answered with something other than JSON.", response.status);
  }
}

/**
 * The address of a thumbnail; of a copy in memory where the service wants a key with each request.
 * @param path  of an item's image, as the service gives it.
 * @param pixels  of its sides on the page; on fine screens it is sharp with twice as many.
 */
export async function imageUrl(path, pixels) {
  const url = address(path, { size: 2 * pixels });
  if (!apiKey) return url;
  if (!images.has(url)) {
    images.set(url, send(url, null, null).then((response) => response.blob()).then((blob) => URL.createObjectURL(blob)));
    images.get(url).catch(() => images.delete(url));
    if (images.size > MOST_IMAGES) forgetOldestImage();
  }
  return images.get(url);
}

function forgetOldestImage() {
  const [url, image] = images.entries().next().value;
  images.delete(url);
  image.then(URL.revokeObjectURL, () => {});
}

function address(path, query) {
  const url = new URL(path, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(query)) if (value !== null && value !== undefined) url.searchParams.set(name, value);
  return url.href;
}

async function send(url, body, signal) {
  for (let attempt = 1; ; attempt += 1) {
    const usedKey = apiKey;
    const response = await fetched(url, body, signal);
    if (response.ok) {
      if (attempt > 1) onBusy(0);
      return response;
    }
    if (response.status === 401) {
      if (usedKey === apiKey) await renewKey(usedKey);
    } else if ((response.status === 429 || response.status === 503) && attempt < ATTEMPTS) {
      const seconds = Math.min(Number(response.headers.get("Retry-After")) || 1, LONGEST_WAIT);
      onBusy(seconds);
      await pause(seconds, signal);
    } else throw new ServiceError(await sentence(response), response.status);
  }
}

async function fetched(url, body, signal) {
  const headers = { Accept: "application/json" };
  if (apiKey) headers.Authorization = `Bearer ${apiKey}`;
  if (body) headers["Content-Type"] = "application/json";
  try {
    return await fetch(url, {
      method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal, credentials: "same-origin",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const offline = navigator.onLine === false ? "This device is offline." : "The service does not answer.";
    throw new ServiceError(`${offline} Check that it is still running and that you can reach it.`);
  }
}

async function renewKey(refused) {
  asking ??= askForKey(refused !== "").finally(() => { asking = null; });
  const key = await asking;
  if (!key) throw new ServiceError("The service needs an API key.", 401);
  apiKey = key;
}

async function sentence(response) {
  const content = await response.json().catch(() => null);
  const message = typeof content?.detail === "string" ? content.detail : "";
  if (response.status === 429) return "The service is busy. Try again in a moment.";
  if (response.status === 503) return `The service cannot answer now: ${message || "it is not ready yet"}.`;
  return message ? `The service refused the request. ${message}` : `The service answered with status ${response.status}.`;
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("aborted", "AbortError"));
    });
  });
}
