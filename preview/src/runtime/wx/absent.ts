/**
 * What a phone can do and a browser's tab here cannot: calls that fail, as they do for a person who says no, and are named as missing.
 *
 * So a program that handles failures runs on. What is neither here nor in the files beside this one is `undefined`.
 */

const NAMES = new Set(
  (
    'addCard addPhoneCalendar addPhoneContact authorize checkIsSupportSoterAuthentication chooseAddress chooseContact chooseImage chooseInvoice ' +
    'chooseInvoiceTitle chooseLicensePlate chooseLocation chooseMedia chooseMessageFile choosePoi chooseVideo closeBLEConnection closeBluetoothAdapter ' +
    'compressImage compressVideo connectWifi cropImage downloadFile editImage exitMiniProgram getBluetoothAdapterState getBluetoothDevices ' +
    'getConnectedWifi getFuzzyLocation getGroupEnterInfo getImageInfo getLocation getPrivacySetting getScreenBrightness getSetting getShareInfo ' +
    'getUserInfo getUserProfile getVideoInfo getWeRunData getWifiList loadFontFace makePhoneCall navigateBackMiniProgram navigateToMiniProgram ' +
    'openBluetoothAdapter openChannelsActivity openChannelsLive openChannelsUserProfile openCustomerServiceChat openDocument openEmbeddedMiniProgram ' +
    'openLocation openPrivacyContract openSetting preDownloadSubpackage previewMedia requestPayment requestSubscribeMessage requestVirtualPayment ' +
    'requirePrivacyAuthorize saveFileToDisk saveImageToPhotosAlbum saveVideoToPhotosAlbum scanCode setScreenBrightness shareFileMessage ' +
    'shareVideoMessage showShareImageMenu startAccelerometer startBeaconDiscovery startBluetoothDevicesDiscovery startCompass ' +
    'startDeviceMotionListening startGyroscope startLocationUpdate startRecord startSoterAuthentication startWifi stopAccelerometer ' +
    'stopCompass stopLocationUpdate stopRecord updateShareMenu uploadFile'
  ).split(' '),
)

export function isAbsent(name: string): boolean {
  return NAMES.has(name)
}
