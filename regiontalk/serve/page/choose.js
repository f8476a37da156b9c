// Ways to a photo: the file dialog, dropping, pasting, the camera. Each ends in take(file).

import { $, complain, say } from "./dom.js";

/** Listens to all ways; returns what closes the camera. */
export function listen(take, mostBytes) {
  const offer = (file) => {
    if (!file) return;
    if (file.type && !file.type.startsWith("image/")) return complain(`${file.name}: expected a picture.`);
    if (file.size > mostBytes()) {
      return complain(`${file.name}: ${megabytes(file.size)}; this server takes at most ${megabytes(mostBytes())}.`);
    }
    complain("");
    take(file);
  };
  for (const id of ["file", "example"]) {
    $(id).addEventListener("change", (event) => {
      offer(event.target.files[0]);
      event.target.value = ""; // the same file may be chosen again
    });
  }
  for (const kind of ["dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      if (!event.dataTransfer.types.includes("Files")) return; // words may be dropped into a text field
      event.preventDefault();
      document.body.classList.toggle("over", kind === "dragover");
      if (kind === "drop") offer(event.dataTransfer.files[0]);
    });
  }
  addEventListener("paste", (event) => {
    const words = event.target.closest?.("input, textarea") && event.clipboardData.types.includes("text/plain");
    if (!words) offer(event.clipboardData.files[0]); // a table or a page is copied as words and as a picture
  });
  return camera(offer);
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

function camera(offer) {
  const [video, button, shoot] = [$("preview"), $("webcam"), $("shoot")];
  let turn = 0; // counts openings and closings: a camera that comes after its closing is shut at once
  let photos = 0;
  const close = () => {
    turn += 1;
    halt(video.srcObject);
    video.srcObject = null;
    $("camera").hidden = true;
    button.removeAttribute("aria-disabled");
  };
  const open = async () => {
    if (button.hasAttribute("aria-disabled")) return;
    const mine = (turn += 1);
    button.setAttribute("aria-disabled", "true");
    complain("");
    try {
      if (!navigator.mediaDevices) throw new Error("browsers allow it only on this machine or over https");
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      if (mine !== turn) return halt(stream);
      video.srcObject = stream;
      shoot.disabled = true; // until there is a frame: a photo of nothing cannot be shown
      $("camera").hidden = false;
      await video.play();
      shoot.disabled = false;
      shoot.focus();
    } catch (error) {
      if (mine !== turn) return;
      close();
      complain(`The camera cannot be used: ${error.message}`);
    }
  };
  button.addEventListener("click", open);
  $("stop").addEventListener("click", () => (close(), button.focus()));
  shoot.addEventListener("click", async () => {
    const blob = await picture(video);
    close();
    button.focus();
    say("Photo taken.");
    offer(new File([blob], `camera-${(photos += 1)}.jpg`, { type: "image/jpeg" }));
  });
  addEventListener("pagehide", close);
  return close;
}

function halt(stream) {
  stream?.getTracks().forEach((track) => track.stop());
}

function picture(video) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}
